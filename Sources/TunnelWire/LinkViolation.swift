/// The peer broke the tunnel protocol. The link cannot go on; its streams end with it.
///
/// Source: `PROTOCOL.md`, "Violations".
package enum LinkViolation: Error, Hashable, Sendable {
    /// A type that this version does not know and that is not an extension.
    case unknownFrameType(UInt8)
    /// The length is not one that a frame of this type can have.
    case badLength(FrameType, Int)
    /// A link frame with a stream id, or a stream frame without.
    case badStreamID(FrameType, UInt32)
    /// A frame that this side never receives, or not in this phase.
    case unexpected(FrameType)
    /// OPEN with an id that was used before.
    case streamIDReused(UInt32)
    /// A frame for a stream that was never opened.
    case streamNeverOpened(UInt32)
    /// More streams at once than agreed.
    case tooManyStreams(limit: Int)
    /// ACK or RESUME with an offset that was never sent, or already acknowledged.
    case badOffset(claimed: UInt64, acknowledged: UInt64, sent: UInt64)
    /// A control payload that is not the JSON it should be.
    case badPayload(FrameType)
    /// On an engine's stream: bytes that are no record, one out of place, or the stream's end.
    case badRecord

    /// The stable word for it, sent in an ERROR frame.
    package var code: String {
        switch self {
        case .unknownFrameType: "unknown_frame_type"
        case .badLength: "bad_length"
        case .badStreamID: "bad_stream_id"
        case .unexpected: "unexpected_frame"
        case .streamIDReused: "stream_id_reused"
        case .streamNeverOpened: "stream_never_opened"
        case .tooManyStreams: "too_many_streams"
        case .badOffset: "bad_offset"
        case .badPayload: "bad_payload"
        case .badRecord: "bad_record"
        }
    }
}
