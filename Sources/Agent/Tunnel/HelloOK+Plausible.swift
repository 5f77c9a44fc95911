import SharePolicy
import TunnelWire

extension HelloOK {
    /// Links that a relay may ask for: an event loop each, on a very large machine.
    private static let linkCounts = 1...256
    /// The longest grace, in seconds.
    private static let graces = 0...600
    /// The latest expiry, in seconds since 1970: the year 2200.
    private static let latestExpiry = 7_258_118_400.0

    /// Whether every field is what a relay would say. The relay may be compromised; its words are
    /// printed on the owner's terminal, in a line that is made to be pasted.
    var isPlausible: Bool {
        ShareID(rawValue: self.share) != nil
            && (self.name.map { ShareName(rawValue: $0) != nil } ?? true)
            && (1...253).contains(self.host.utf8.count)
            && self.host.utf8.allSatisfy(Self.isHostByte)
            && (1...65_535).contains(self.port) && Self.linkCounts.contains(self.links)
            && Self.graces.contains(self.graceSeconds)
            && self.expiresAt.isFinite && (0...Self.latestExpiry).contains(self.expiresAt)
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
            UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
            true
        default:
            false
        }
    }
}
