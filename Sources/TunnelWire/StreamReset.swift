package import NIOCore

/// Why a stream ended at once: what a RESET frame carries.
///
/// On the wire: u8 code, five ASCII bytes of SQLSTATE, then the sentence in UTF-8.
package struct StreamReset: Hashable, Sendable {
    /// The longest sentence, in bytes of UTF-8. Longer ones are cut when written.
    package static let maximumTextBytes = 1_024

    /// Who ended it. Source: `PROTOCOL.md`, "RESET codes".
    package enum Code: UInt8, Sendable, CaseIterable {
        /// One end simply closed: nothing to tell.
        case closed = 0
        /// The peer sent more than its credit.
        case flowControl = 1
        /// The peer broke the rules of this stream in another way.
        case protocolError = 2
        /// The agent will not serve this request, or its Postgres said no. See the SQLSTATE.
        case refused = 3
        /// The database cannot be reached.
        case unreachable = 4
        /// The share ended: expired or revoked.
        case ended = 5
        /// The tunnel was lost and did not come back in time.
        case tunnelLost = 6
        /// The other program is stopping.
        case stopping = 7
        /// A fault of ours.
        case internalFailure = 8
    }

    package var code: Code
    /// Five characters of `[0-9A-Z]`. Source: PostgreSQL documentation, appendix A.
    package var sqlState: String
    /// One sentence for the client. Empty where nobody is left to read it.
    package var text: String

    package init(_ code: Code, sqlState: String = "00000", text: String = "") {
        self.code = code
        self.sqlState = sqlState
        self.text = text
    }

    /// What a stream is ended with when its link is lost for good.
    package static let tunnelLost = StreamReset(
        .tunnelLost, sqlState: "08006", text: "the connection to the database was lost")

    /// Reads the payload of a RESET frame. Codes of a newer peer read as `protocolError`.
    package init?(payload: ByteBuffer) {
        var bytes = payload
        guard let rawCode: UInt8 = bytes.readInteger(),
            let state = bytes.readString(length: 5), Self.isSQLState(state)
        else { return nil }
        self.code = Code(rawValue: rawCode) ?? .protocolError
        self.sqlState = state
        self.text = String(buffer: bytes)
    }

    private static func isSQLState(_ text: String) -> Bool {
        text.utf8.count == 5
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) }
    }

    /// The payload of a RESET frame.
    ///
    /// What a database calls its SQLSTATE and is none goes out as `XX000`: the peer would end the
    /// link over it.
    package var payload: ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeInteger(self.code.rawValue)
        bytes.writeString(Self.isSQLState(self.sqlState) ? self.sqlState : "XX000")
        var text = self.text
        while text.utf8.count > Self.maximumTextBytes { text.removeLast() }
        bytes.writeString(text)
        return bytes
    }
}
