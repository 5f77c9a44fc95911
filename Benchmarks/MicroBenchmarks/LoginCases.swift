import NIOCore
import PostgresWire

/// What a new client costs before its stream opens.
enum LoginCases {
    /// One whole SCRAM-SHA-256-PLUS exchange, both ends. The client's PBKDF2 is left out (its keys
    /// are cached): 4,096 iterations would hide everything else.
    static func scram() throws -> (() throws -> Int) {
        let password = Secret("correct horse battery staple")
        let salt = [UInt8](repeating: 7, count: SCRAMVerifier.saltBytes)
        let verifier = SCRAMVerifier(password: password, salt: salt)
        let binding = [UInt8](repeating: 9, count: 32)
        let first = try self.login(verifier, binding, password: password, cachedKeys: nil)
        return {
            let next = try self.login(
                verifier, binding, password: password, cachedKeys: first.scramKeys)
            guard next.scramKeys != nil else { throw UnexpectedResult(what: "not authenticated") }
            return 1
        }
    }

    /// One StartupMessage, from bytes to a route.
    static func startup() throws -> (() throws -> Int) {
        let parameters = [
            StartupRequest.Parameter(name: "user", value: "postgres.a1b2c3d4e5f6g7h8"),
            StartupRequest.Parameter(name: "database", value: "postgres"),
            StartupRequest.Parameter(name: "application_name", value: "psql"),
            StartupRequest.Parameter(name: "client_encoding", value: "UTF8"),
        ]
        let packet = PostgresMessage.startup(parameters)
        let sslRequest = PostgresMessage.sslRequest()
        return {
            var machine = StartupMachine()
            var bytes = sslRequest
            guard try machine.receive(&bytes) == .startTLS else {
                throw UnexpectedResult(what: "no startTLS")
            }
            machine.tlsEstablished()
            bytes = packet
            guard case .route(let request) = try machine.receive(&bytes) else {
                throw UnexpectedResult(what: "no route")
            }
            return request.parameters.count
        }
    }

    private static func login(
        _ verifier: SCRAMVerifier, _ binding: [UInt8], password: Secret, cachedKeys: SCRAMKeys?
    ) throws -> ClientLoginMachine {
        var generator = FixedGenerator()
        var server = ServerLoginMachine(
            method: .scram(verifier, isMock: false, channelBinding: binding))
        var client = ClientLoginMachine(
            startup: [StartupRequest.Parameter(name: "user", value: "bench")],
            credentials: ClientLoginMachine.Credentials(
                user: "bench", password: password, channelBindingPolicy: .require,
                cachedKeys: cachedKeys),
            channelBinding: binding)
        _ = client.start()
        var toClient = server.start(using: &generator)
        while true {
            switch client.receive(&toClient, using: &generator) {
            case .send(var toServer):
                switch try server.receive(&toServer, using: &generator) {
                case .send(let reply), .succeeded(let reply): toClient = reply
                case .readMore, .verify, .failed:
                    throw UnexpectedResult(what: "the server did not go on")
                }
            case .authenticated: return client
            case .readMore: throw UnexpectedResult(what: "the client waits")
            case .failed(let failure): throw UnexpectedResult(what: "\(failure)")
            }
        }
    }
}
