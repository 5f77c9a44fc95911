import Foundation
import NIOCore
import PostgresWire
import SharePolicy
import SharedSession
import TunnelTransport
import TunnelWire

/// An ``EngineLink`` over the one stream of a browser's link: writes records, reads records.
///
/// Lives on the link's event loop.
final class EngineStream: EngineLink {
    /// Payloads up to this are copied behind what was written before them; larger ones go by
    /// reference.
    private static let copiedBytes = 16 * 1024
    /// Characters of a fault's message that clients are shown.
    private static let maximumMessageCharacters = 512

    private let link: Link
    private let expiresAt: Date?
    private var handle: StreamHandle?
    private var decoder = EngineRecordDecoder()
    /// Records that were not handed to the link yet.
    private var unsent = ByteBuffer()
    private var mayGoOn = true
    private var opened: EngineCapabilities?
    private var end: EngineEnd?

    weak var delegate: (any EngineLinkDelegate)? {
        didSet {
            if let opened { self.delegate?.engineOpened(opened) }
            if let end { self.delegate?.engineGone(end) }
        }
    }

    /// Prepares a stream on a link that has just been welcomed.
    ///
    /// - Parameters:
    ///   - link: The link.
    ///   - expiresAt: When its share ends by itself; nil for never.
    init(link: Link, expiresAt: Date?) {
        self.link = link
        self.expiresAt = expiresAt
    }

    /// Asks for the engine.
    func open() {
        self.handle = self.link.open({ Open(engineWindow: $0) }, port: Port(stream: self))
        if self.handle == nil { self.gone(EngineEnd(Refusal.Reason.tunnelLost)) }
    }

    /// The stream's near end. The link keeps it, and it keeps the ``EngineStream``.
    private final class Port: StreamPort {
        private let stream: EngineStream

        init(stream: EngineStream) { self.stream = stream }

        func accepted(_ payload: ByteBuffer) { self.stream.accepted(payload) }
        func deliver(_ bytes: ByteBuffer) { self.stream.deliver(bytes) }
        func flush() { self.stream.delegate?.engineFlushed() }
        func resumeSource() { self.stream.resumed() }
        func deliverEnd() { self.stream.violated() }
        func deliverReset(_ reset: StreamReset) { self.stream.reset(reset) }
    }

    // MARK: To the engine

    func hold() {
        self.decoder.askedToHold()
        self.unsent.writeRecordHeader(.hold)
    }

    func release() { self.unsent.writeRecordHeader(.release) }

    func data(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > Self.copiedBytes else {
            return self.unsent.writeRecord(.data, bytes)
        }
        self.unsent.writeRecordHeader(.data, length: bytes.readableBytes)
        self.flush()
        self.send(bytes)
    }

    func run() {
        self.decoder.askedToRun()
        self.unsent.writeRecordHeader(.run)
    }

    func drop() { self.unsent.writeRecordHeader(.drop) }

    func restart() {
        self.decoder.askedToRestart()
        self.unsent.writeRecordHeader(.restart)
    }

    func event(_ event: PageEvent) { self.unsent.writeRecord(.event, event.json) }

    func credit(_ bytes: Int) {
        guard let handle, bytes > 0 else { return }
        self.link.consumed(handle, bytes: bytes)
    }

    func flush() {
        guard self.unsent.readableBytes > 0 else { return }
        let records = self.unsent
        self.unsent = ByteBuffer()
        self.send(records)
    }

    private func send(_ bytes: ByteBuffer) {
        guard let handle else { return }
        let mayGoOn = self.link.send(handle, bytes)
        guard mayGoOn != self.mayGoOn else { return }
        self.mayGoOn = mayGoOn
        self.delegate?.engineMayGoOn(mayGoOn)
    }

    func close(_ reason: Refusal.Reason) {
        let refusal = TunnelRefusal.Reason(ending: reason, expiresAt: self.expiresAt, now: Date())
        self.link.end(
            LinkError(
                code: refusal.code, message: refusal.message, retry: refusal.isRetryable),
            reset: StreamReset(
                .ended, sqlState: reason.sqlState.rawValue, text: reason.message))
    }

    // MARK: From the link

    private func accepted(_ payload: ByteBuffer) {
        // The link has read it: what is no OPEN_OK has ended the stream.
        let engine = (try? OpenOK(payload: payload))?.engine
        var capabilities = EngineCapabilities()
        capabilities.copiesIn = engine?.copyIn ?? true
        capabilities.restarts = engine?.restarts ?? true
        capabilities.holds = engine?.holds ?? true
        self.opened = capabilities
        self.delegate?.engineOpened(capabilities)
    }

    private func deliver(_ bytes: ByteBuffer) {
        guard self.handle != nil else { return }
        var bytes = bytes
        let total = bytes.readableBytes
        var replied = 0
        do {
            while let event = try self.decoder.next(&bytes) {
                if case .reply(let part) = event { replied += part.readableBytes }
                self.tell(event)
                guard self.handle != nil else { return }
            }
        } catch {
            return self.violated()
        }
        // Heads of records, and what is read at once, nobody has to take.
        self.credit(total - replied)
    }

    private func tell(_ event: EngineRecordDecoder.Event) {
        guard let delegate else { return }
        switch event {
        case .reply(let bytes): delegate.engineReplied(bytes)
        case .void: break
        case .done: delegate.engineDone()
        case .notify(let message): delegate.engineNotified(message)
        case .restarted: delegate.engineRestarted()
        case .held: delegate.engineHeld()
        case .fault(let payload):
            let fault = Fault(payload)
            delegate.engineFaulted(fault.message, restarted: fault.restarted)
        }
    }

    private func resumed() {
        guard !self.mayGoOn else { return }
        self.mayGoOn = true
        self.delegate?.engineMayGoOn(true)
    }

    /// The stream is gone: with its link, or because the sandbox ended it, and then the link has
    /// no more use either.
    private func reset(_ reset: StreamReset) {
        let isStopped = self.link.peerError?.code == LinkError.agentStopped
        self.gone(isStopped ? .stopped : EngineEnd(reset))
        if !self.link.isOver { self.link.end(LinkError(.badRecord), reset: .tunnelLost) }
    }

    /// The sandbox broke the rules, or ended a stream that lasts as long as its link.
    private func violated() {
        guard self.handle != nil else { return }
        self.link.end(LinkError(.badRecord), reset: .tunnelLost)
    }

    private func gone(_ end: EngineEnd) {
        guard self.end == nil else { return }
        self.end = end
        self.handle = nil
        self.delegate?.engineGone(end)
    }

    /// The payload of FAULT. One that cannot be read is a fault all the same.
    private struct Fault: Decodable {
        var message = "the engine failed"
        var restarted = false

        private enum CodingKeys: String, CodingKey { case message, restarted }

        init(_ payload: ByteBuffer) {
            let read = try? JSONDecoder().decode(Fault.self, from: Data(payload.readableBytesView))
            if let read { self = read }
        }

        init(from decoder: any Decoder) throws {
            let keys = try decoder.container(keyedBy: CodingKeys.self)
            let message = try keys.decodeIfPresent(String.self, forKey: .message) ?? self.message
            self.message = String(message.prefix(EngineStream.maximumMessageCharacters))
            self.restarted = try keys.decodeIfPresent(Bool.self, forKey: .restarted) ?? false
        }
    }
}

extension EngineEnd {
    /// What the reset of an engine's stream says.
    fileprivate init(_ reset: StreamReset) {
        let lost = Refusal.Reason.tunnelLost
        switch reset.code {
        case .ended, .stopping, .unreachable, .refused:
            self.init(
                sqlState: reset.sqlState, message: reset.text.isEmpty ? lost.message : reset.text)
        case .closed, .flowControl, .protocolError, .tunnelLost, .internalFailure:
            self.init(lost)
        }
    }
}

extension PageEvent {
    /// Characters of a client's own text that the page gets.
    private static let maximumTextCharacters = 256

    /// As it goes in an EVENT record.
    var json: ByteBuffer {
        let body: Body
        switch self {
        case .connected(let client, let address, let application):
            body = Body(
                event: "client-connected", client: client, address: address,
                application: application.map { String($0.prefix(Self.maximumTextCharacters)) })
        case .disconnected(let client):
            body = Body(
                event: "client-disconnected", client: client, address: nil, application: nil)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(body)).map { ByteBuffer(bytes: $0) } ?? ByteBuffer(string: "{}")
    }

    private struct Body: Encodable {
        var event: String
        var client: UInt32
        var address: String?
        var application: String?
    }
}
