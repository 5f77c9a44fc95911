/// Why a WebSocket connection is closed: a code for programs and a text for people.
///
/// Source: RFC 6455, 7.4 "Status Codes".
package struct WebSocketClose: Sendable, Hashable {
    /// The code. ``Code`` names those that pgshare sends.
    package var code: UInt16
    /// The text; may be empty. The peer wrote it: unverified, at most 123 bytes.
    package var reason: String

    /// Creates a close reason.
    ///
    /// - Parameters:
    ///   - code: One that may stand in a close frame.
    ///   - reason: The text; cut to 123 bytes at a character when it is sent.
    package init(code: Code, reason: String) {
        self.code = code.rawValue
        self.reason = reason
    }

    init(code: UInt16, reason: String) {
        self.code = code
        self.reason = reason
    }

    /// The codes that pgshare sends.
    package enum Code: UInt16, Sendable, Hashable {
        /// The work is done.
        case normal = 1000
        /// This end is going away: it stops, or it has nothing more to say.
        case goingAway = 1001
        /// The peer broke the WebSocket protocol.
        case protocolError = 1002
        /// The peer sent text where only binary messages are understood.
        case unacceptableData = 1003
        /// The peer sent a text that is not UTF-8.
        case invalidText = 1007
        /// The peer broke a rule of the tunnel: not authorised, revoked, taken over.
        case policyViolation = 1008
        /// The frame was too long.
        case messageTooBig = 1009
        /// This end failed.
        case internalError = 1011
        /// This end is restarting; try again soon.
        case serviceRestart = 1012
    }

    /// The longest reason that fits into a control frame beside its code, in bytes.
    static let maximumReasonBytes = WebSocketFrameHeader.maximumControlBytes - 2

    /// Whether a close frame may carry `code`: 1005, 1006 and 1015 only ever exist inside a
    /// program.
    static func isSendable(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }

    /// The reason, cut to ``maximumReasonBytes`` between characters.
    var reasonThatFits: String {
        var reason = self.reason
        while reason.utf8.count > Self.maximumReasonBytes {
            reason.removeLast()
        }
        return reason
    }
}

/// The peer broke the WebSocket protocol, or sent what a tunnel does not understand.
package enum WebSocketViolation: Error, Sendable, Hashable {
    /// A reserved bit was set although no extension was agreed upon.
    case reservedBits
    /// The opcode has no meaning.
    case reservedOpcode(UInt8)
    /// A client sent a frame without a mask.
    case unmaskedFrame
    /// A server sent a frame with a mask.
    case maskedFrame
    /// A control frame was not final.
    case fragmentedControlFrame
    /// A control frame was longer than 125 bytes.
    case controlFrameTooLong
    /// The length would have fitted into fewer bytes.
    case longLength(UInt64)
    /// A frame of this many bytes, more than a tunnel ever needs.
    case frameTooLong(UInt64)
    /// A continuation without a message that it continues.
    case continuationOfNothing
    /// A new message inside a fragmented one.
    case messageInsideMessage
    /// A text message.
    case textMessage
    /// The close frame's code cannot stand in one, or is cut off.
    case badCloseCode
    /// The close frame's reason is not UTF-8.
    case badCloseReason

    /// What to tell the peer.
    package var closeCode: WebSocketClose.Code {
        switch self {
        case .textMessage: .unacceptableData
        case .frameTooLong: .messageTooBig
        case .badCloseReason: .invalidText
        case .reservedBits, .reservedOpcode, .unmaskedFrame, .maskedFrame, .fragmentedControlFrame,
            .controlFrameTooLong, .longLength, .continuationOfNothing, .messageInsideMessage,
            .badCloseCode:
            .protocolError
        }
    }

    /// One sentence for the peer and the log.
    package var message: String {
        switch self {
        case .reservedBits: "a reserved bit was set"
        case .reservedOpcode(let opcode): "opcode \(opcode) is reserved"
        case .unmaskedFrame: "a client's frame was not masked"
        case .maskedFrame: "a server's frame was masked"
        case .fragmentedControlFrame: "a control frame was fragmented"
        case .controlFrameTooLong: "a control frame was longer than 125 bytes"
        case .longLength(let length): "the length \(length) took more bytes than it needs"
        case .frameTooLong(let length): "a frame of \(length) bytes is too long"
        case .continuationOfNothing: "a continuation came without a message"
        case .messageInsideMessage: "a message began inside another one"
        case .textMessage: "only binary messages are understood"
        case .badCloseCode: "the close code is not one that may be sent"
        case .badCloseReason: "the close reason is not UTF-8"
        }
    }
}
