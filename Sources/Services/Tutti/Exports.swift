// SPDX-License-Identifier: Apache-2.0

// `import Tutti` alone is enough for an embedder: the types that its signatures show come along.
// No other file of this module may import one of these in the same scoped form: the compiler then drops the re-export.
@_exported public import struct Logging.Logger
@_exported public import struct NIOCore.ByteBuffer
@_exported public import struct TuttiBase.ProtocolID
@_exported public import struct TuttiIdentity.KeyPair
@_exported public import struct TuttiIdentity.Multiaddr
@_exported public import struct TuttiIdentity.PeerID
