// SPDX-License-Identifier: Apache-2.0

/// What the transport itself may spend; what a connection may cost is in `ConnectionLimits`.
package struct TransportLimits: Hashable, Sendable {
    /// Output of one connection in one turn of its loop; the rest waits until the loop has looked at other sockets.
    package var turnBytesMax = 256 * 1024
    /// Output is made, written and flushed in chunks of about this size, so that it is still in the cache when the
    /// kernel copies it.
    package var chunkBytesMax = 64 * 1024
    /// One read of a socket.
    package var readBytesMax = 128 * 1024
    /// Reads that filled their buffer and whose bytes wait for those of the next, so that their reader wakes once.
    package var heldReadsMax = 3
    /// They wait no longer than this, should nothing follow.
    package var heldTimeout: Duration = .milliseconds(1)
    /// Below the first, a socket whose output stalled takes more; above the second it is not given more.
    package var linkLowWater = 64 * 1024
    package var linkHighWater = 256 * 1024
    /// Decoded messages handed to the node and not yet handled, bytes per connection. Over it reading stops.
    package var inboxBytesMax = 1024 * 1024
    /// Messages of the node that a connection's peer has not read, bytes. Over it reading stops.
    package var unsentBytesMax = 1024 * 1024
    /// A connection whose reading was stopped for this long is closed.
    package var pausedTimeout: Duration = .seconds(30)
    /// An accepted socket that the node has not admitted by then is closed.
    package var admissionTimeout: Duration = .seconds(5)
    /// After our goodbye the peer has this long to read it and close; no longer, a socket costs a file descriptor.
    package var lingerTimeout: Duration = .seconds(1)
    /// What the peer may still send meanwhile, bytes; it is read and forgotten, so that our goodbye isn't lost to a reset.
    package var lingerBytesMax = 1024 * 1024
    /// Echoes that a peer has asked for and not read, bytes per ping stream. Over it the stream is reset.
    package var pingUnsentBytesMax = 16 * 1024
    /// A message of a protocol that we opened and that has no entry in the table.
    package var messageBytesMax = 64 * 1024
    /// Read buffers that an application's unread slices may keep alive whole, per stream; beyond, slices are copied.
    package var heldBuffersMax = 16
    /// The sum of all windows beyond their initial size, process-wide, bytes.
    package var windowPoolBytes = 512 * 1024 * 1024
    /// Share of a core above which the node is told of a connection's use, percent.
    package var processorPercentReported = 25
    /// A connection that no application uses is reported as free after this long.
    package var streamsFreeDelay: Duration = .seconds(1)
    package var listenBacklog = 1024
    /// Sources whose sockets are closed as they are accepted. At it: the node is asked about further ones as ever.
    package var sourcesShutMax = 1024

    // Names.
    package var resolvedMax = 16
    package var resolveTimeout: Duration = .seconds(5)
    package var resolveDepthMax = 4
    /// Lookups that may wait for a thread; beyond, a name has no address.
    package var resolvesQueuedMax = 64
    package var resolverThreads = 2
    /// Questions that one `/dnsaddr` may lead to, over all depths.
    package var dnsQuestionsMax = 16
    /// One question to one name server.
    package var dnsQuestionTimeout: Duration = .milliseconds(1500)

    package init() {}
}
