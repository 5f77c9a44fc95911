import NIOCore
import NIOEmbedded
import NIOSSL
import PostgresWire

@testable import Relay

/// A client and the front door's handlers, in memory, with the clock in the test's hand.
final class Talk {
    let loop = EmbeddedEventLoop()
    let server: EmbeddedChannel
    /// The client's TLS, once it was asked for.
    private var client: EmbeddedChannel?
    /// How many bytes reach the front door at once.
    private let pieceBytes: Int
    /// What the front door sent and the test has not read.
    private(set) var received = ByteBuffer()

    /// A client of `address` whose bytes reach the front door `pieceBytes` at a time.
    init(
        _ fixture: Fixture, for purpose: ListeningPurpose = .clients,
        from address: String = "192.0.2.7", pieceBytes: Int = .max
    ) throws {
        self.pieceBytes = pieceBytes
        self.server = EmbeddedChannel(loop: self.loop)
        let remote = try SocketAddress(ipAddress: address, port: 40_000)
        self.server.connect(to: remote, promise: nil)
        self.server.remoteAddress = remote
        try fixture.services.welcome(
            self.server, for: purpose, behind: fixture.services.configuration.proxies)
    }

    /// Sends bytes, through TLS once that is there, and gathers what comes back.
    func send(_ bytes: ByteBuffer) throws {
        if let client = self.client {
            try client.writeOutbound(bytes)
            try self.pump()
        } else {
            try self.deliver(bytes)
            try self.gather()
        }
    }

    /// Does the TLS handshake.
    func startTLS(_ context: NIOSSLContext, serverName: String? = nil) throws {
        let handler = try NIOSSLClientHandler(context: context, serverHostname: serverName)
        let client = EmbeddedChannel(handler: handler, loop: self.loop)
        self.client = client
        client.connect(to: try SocketAddress(ipAddress: "192.0.2.1", port: 5_432), promise: nil)
        try self.pump()
    }

    /// Carries bytes between the two until neither has any.
    func pump() throws {
        guard let client = self.client else { return try self.gather() }
        var isMoving = true
        while isMoving {
            isMoving = false
            while let bytes = try client.readOutbound(as: ByteBuffer.self) {
                isMoving = true
                try self.deliver(bytes)
            }
            while let bytes = try self.server.readOutbound(as: ByteBuffer.self) {
                isMoving = true
                try client.writeInbound(bytes)
            }
            while var bytes = try client.readInbound(as: ByteBuffer.self) {
                self.received.writeBuffer(&bytes)
            }
            self.loop.run()
        }
    }

    /// What came and was not read yet; it counts as read now.
    func take() -> ByteBuffer {
        defer { self.received = ByteBuffer() }
        return self.received
    }

    /// The ErrorResponse that came last, or nil where none did.
    func takeError() -> PostgresError? {
        var bytes = self.take()
        while let type = bytes.readInteger(as: UInt8.self),
            let length = bytes.readInteger(as: UInt32.self)
        {
            guard let body = bytes.readSlice(length: Int(length) - 4) else { break }
            if type == UInt8(ascii: "E") { return PostgresError.parse(body: body) }
        }
        return nil
    }

    /// Lets time pass.
    func advance(by time: TimeAmount) throws {
        self.loop.advanceTime(by: time)
        try self.pump()
    }

    /// Asks for a share after TLS, and logs in.
    ///
    /// - Returns: What became of it.
    func logIn(
        user: String,
        password: String = Fixture.password,
        behind extra: ByteBuffer? = nil
    ) throws -> ClientLoginMachine.OnReceive {
        var random = SystemRandomNumberGenerator()
        var machine = ClientLoginMachine(
            startup: [.init(name: "user", value: user), .init(name: "database", value: "shop")],
            credentials: .init(user: user, password: Secret(password)),
            channelBinding: nil
        )
        try self.send(machine.start())
        while true {
            let action = machine.receive(&self.received, using: &random)
            guard case .send(var message) = action else { return action }
            if let extra, machine.isProofSent(message) {
                message.writeImmutableBuffer(extra)
            }
            try self.send(message)
        }
    }

    private func deliver(_ bytes: ByteBuffer) throws {
        var bytes = bytes
        while bytes.readableBytes > 0, self.server.isActive {
            let count = min(self.pieceBytes, bytes.readableBytes)
            guard let piece = bytes.readSlice(length: count) else { return }
            try self.server.writeInbound(piece)
        }
    }

    private func gather() throws {
        while var bytes = try self.server.readOutbound(as: ByteBuffer.self) {
            self.received.writeBuffer(&bytes)
        }
    }
}

extension ClientLoginMachine {
    /// Whether `message` carries the proof, the last thing a client says in SCRAM.
    fileprivate func isProofSent(_ message: ByteBuffer) -> Bool {
        String(buffer: message).contains(",p=")
    }
}
