import NIOCore

@testable import SharedSession

/// What the shell does for the machine, and the engine behind it.
extension SharedRun {
    mutating func drain() throws(OracleFailure) {
        while let action = self.session.nextAction() { try self.take(action) }
        let owed = self.repliedBytes - self.creditedBytes
        guard owed >= 0 else { throw OracleFailure("\(-owed) bytes of credit too many") }
    }

    private mutating func take(_ action: SharedSession.Action) throws(OracleFailure) {
        switch action {
        case .send(let id, let bytes, let credit):
            let index = try self.index(of: id, "bytes")
            self.peers[index].inbound.append((bytes, credit))
        case .credit(let count): self.creditedBytes += count
        case .pause(let id): self.peers[try self.index(of: id, "a pause")].isPaused = true
        case .resume(let id): self.peers[try self.index(of: id, "a resume")].isPaused = false
        case .close(let id): self.peers[try self.index(of: id, "a close")].isClosed = true
        case .hold:
            guard !self.isHeld else { throw OracleFailure("the engine is asked for twice") }
            self.isHeld = true
            self.owesHeld = true
        case .release:
            try self.checkHeld("a release")
            guard self.calls.isEmpty, self.reply == nil, self.gathered.readableBytes == 0 else {
                throw OracleFailure("a release in the middle of a call")
            }
            self.isHeld = false
            self.owesHeld = false
        case .data(let bytes):
            try self.checkHeld("data")
            self.gathered.writeImmutableBuffer(bytes)
        case .run:
            try self.checkHeld("a call")
            self.calls.append(self.gathered)
            self.gathered = ByteBuffer()
        case .drop:
            try self.checkHeld("a drop")
            self.gathered = ByteBuffer()
        case .restart:
            guard !self.owesRestart else { throw OracleFailure("a restart is asked for twice") }
            self.owesRestart = true
        case .log(.faulted(let id?)):
            if let index = self.peers.firstIndex(where: { $0.id == id }) {
                self.peers[index].hasFaulted = true
            }
        case .log: break
        }
    }

    private func checkHeld(_ what: String) throws(OracleFailure) {
        guard self.isHeld else { throw OracleFailure("\(what) while the page has the engine") }
    }

    private func index(of id: SessionClientID, _ what: String) throws(OracleFailure) -> Int {
        guard let index = self.peers.firstIndex(where: { $0.id == id }) else {
            throw OracleFailure("\(what) for a client that never came")
        }
        guard self.peers[index].stage == .connected, !self.peers[index].isClosed else {
            throw OracleFailure("\(what) for client \(id.rawValue), which is gone")
        }
        return index
    }

    // MARK: Clients

    /// A client's socket takes what was sent first, and the engine gets the credit for it.
    mutating func take(_ index: Int) {
        guard let (bytes, credit) = self.peers[index].inbound.popFirst() else { return }
        self.peers[index].client.receive(bytes)
        self.creditedBytes += credit
    }

    /// A client's socket is gone, and what it did not take.
    mutating func hangUp(_ index: Int) {
        self.trace("client \(index + 1) is gone")
        self.peers[index].stage = .gone
        for (_, credit) in self.peers[index].inbound { self.creditedBytes += credit }
        self.peers[index].inbound.removeAll()
        self.session.left(self.peers[index].id, now: self.now)
    }

    // MARK: The engine

    mutating func begin() throws(OracleFailure) {
        let call = self.calls.removeFirst()
        if case .client(let id) = self.session.call?.owner {
            self.served.append(Int(id.rawValue) - 1)
        }
        let owner = self.session.call.map { "\($0.owner)" } ?? "nobody's"
        self.trace("call of \(owner):", call, ofClient: true)
        do {
            let reply = try self.engine.call(call)
            self.trace("  reply:", reply)
            self.reply = reply
        } catch {
            throw OracleFailure("\(error); \(self.outline)")
        }
    }

    func trace(_ what: String, _ messages: ByteBuffer? = nil, ofClient: Bool = false) {
        guard self.plan.isTraced else { return }
        let words = messages.map { SharedSessionTranscript.words($0, ofClient: ofClient) } ?? ""
        print(what, words.prefix(500))
    }

    mutating func deliverReply() {
        guard var reply = self.reply else { return }
        let bytes = self.piece(of: &reply)
        self.reply = reply
        self.repliedBytes += bytes.readableBytes
        self.session.replied(bytes, now: self.now)
    }

    /// The call that is under way fails outside of SQL.
    mutating func fault() throws(OracleFailure) {
        self.faults += 1
        self.reply = nil
        let restarted = self.random(1, of: 2)
        self.trace("a fault, restarted: \(restarted)")
        self.noteLosses()
        if restarted { try self.restartEngine() }
        self.session.faulted("unreachable", restarted: restarted, now: self.now)
    }

    /// Whoever has something in the session that nobody has looked at loses it with the engine.
    private mutating func noteLosses() {
        for index in self.peers.indices {
            let id = self.peers[index].id
            let isPinned = self.session.pinned == id
            let isUnseen = self.session.settled == id && self.session.mustLook(at: id)
            if isPinned || isUnseen { self.peers[index].hasLostState = true }
        }
    }

    mutating func restartEngine() throws(OracleFailure) {
        do {
            try self.engine.restart()
        } catch {
            throw OracleFailure("\(error)")
        }
    }

    /// A piece of any size off the front.
    mutating func piece(of bytes: inout ByteBuffer) -> ByteBuffer {
        let all = bytes.readableBytes
        let most = [16, 2000, all, all].randomElement(using: &self.random) ?? all
        let count = min(all, Int.random(in: 1...max(1, most), using: &self.random))
        let piece = bytes.readSlice(length: count) ?? ByteBuffer()
        if bytes.readableBytes == 0 { bytes = ByteBuffer() }
        return piece
    }
}
