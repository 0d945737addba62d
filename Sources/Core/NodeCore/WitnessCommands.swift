// SPDX-License-Identifier: Apache-2.0
package import TuttiIdentity
package import TuttiWitness

/// What the embedder asks of the deadline register.
package enum WitnessCommand: Sendable {
    /// From now on this node's witness answers, under this key and never under another one before the next start.
    case serve(KeyPair, WitnessServingLimits)
    /// Has a slot decided; `.finished` follows. Whoever asks keeps the task on the disk until then.
    case drive(RegisterTask, TradeSigner)
    case cancel(SlotID)
}

package enum WitnessEvent: Sendable {
    case finished(SlotID, RegisterOutcome)
    /// A witness signed what no honest one does.
    case fault(WitnessFault)
    /// Cards and sets are read: from now on the port serves and asks.
    case ready
    /// Who is asked from now on is another.
    case setChanged
}
