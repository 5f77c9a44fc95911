public import SharePolicy

extension Refusal.Reason: MetricLabel {
    /// The label's name.
    public static let labelName = "reason"
}

extension TunnelRefusal.Reason: MetricLabel {
    /// The label's name.
    public static let labelName = "reason"
}

/// What became of a CancelRequest.
public enum CancelLabel: String, MetricLabel {
    /// The label's name.
    public static let labelName = "outcome"

    /// It went to the backend whose key it carried.
    case routed
    /// Nobody has that key.
    case unknown
}

/// How a link's frames travel.
public enum TransportLabel: String, MetricLabel {
    /// The label's name.
    public static let labelName = "transport"

    /// WebSocket, subprotocol `pgshare.v1`.
    case webSocket = "websocket"
    /// The byte stream behind `Upgrade: pgshare/1`.
    case raw
}

/// Which patience of a shared session ran out.
public enum SessionTimeoutLabel: String, MetricLabel {
    /// The label's name.
    public static let labelName = "what"

    /// A client that waited for its turn.
    case wait
    /// A client that kept the session idle while others waited.
    case idle
}

/// The class of an HTTP status.
public enum StatusLabel: String, MetricLabel {
    /// The label's name.
    public static let labelName = "status"

    /// 1xx: an upgrade.
    case upgraded = "1xx"
    /// 2xx.
    case success = "2xx"
    /// 3xx.
    case redirection = "3xx"
    /// 4xx: the caller's fault.
    case refused = "4xx"
    /// 5xx: ours.
    case failed = "5xx"

    /// The class that `code` (100...599) belongs to; anything else is a failure of ours.
    public init(code: Int) {
        switch code / 100 {
        case 1: self = .upgraded
        case 2: self = .success
        case 3: self = .redirection
        case 4: self = .refused
        default: self = .failed
        }
    }
}

/// What became of a certificate that was read again.
public enum ReloadLabel: String, MetricLabel {
    /// The label's name.
    public static let labelName = "outcome"

    /// The new pair is served.
    case replaced
    /// The new pair could not be used; the old one is kept.
    case kept
}
