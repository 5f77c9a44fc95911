import NIOCore

/// Names a stream of one link. Stays valid until the stream is closed; a stale one does nothing.
package struct StreamHandle: Hashable, Sendable {
    /// The stream id on the wire; never 0, never used twice on a link.
    package let id: UInt32
    /// A small index that is the stream's alone while it lives: for tables beside this one.
    package let slot: Int

    /// Stands for a stream whose true handle lives on another event loop. No stream has id 0.
    package static let crossing = StreamHandle(id: 0, slot: 0)
}

/// What the machine knows of one stream.
struct StreamState: Sendable {
    let id: UInt32
    /// The oldest bytes waiting for their turn. Most of the time there is one buffer or none,
    /// so that the queue behind it, which costs an allocation, rarely exists.
    private(set) var head: ByteBuffer?
    private var tail: CircularBuffer<ByteBuffer>?
    /// Bytes waiting for their turn.
    private(set) var queuedBytes = 0
    /// DATA bytes handed out so far, and the peer's limit for them.
    var sent: UInt64 = 0
    var sendLimit: UInt64
    var receiveWindow: ReceiveWindow
    /// What is left of its turn, in bytes.
    var deficit = 0
    /// In the round of streams that have something to send and may.
    var isActive = false
    /// Its source was told to pause.
    var isPaused = false
    var finQueued = false
    var finSent = false
    var finReceived = false
    var isAccepted = false
    var windowDue = false

    init(id: UInt32, receiveWindow: ReceiveWindow) {
        self.id = id
        self.sendLimit = 0
        self.receiveWindow = receiveWindow
    }

    /// What stands in a slot that no stream has.
    static let vacant = StreamState(
        id: 0, receiveWindow: ReceiveWindow(capacity: 0, now: .uptimeNanoseconds(0)))

    var credit: Int { Int(clamping: self.sendLimit - self.sent) }
    /// Whether it could send something now.
    var isReady: Bool {
        if self.queuedBytes > 0 {
            self.sent < self.sendLimit
        } else {
            self.finQueued && !self.finSent
        }
    }
    var isClosed: Bool { self.finSent && self.finReceived }

    mutating func enqueue(_ bytes: ByteBuffer) {
        self.queuedBytes += bytes.readableBytes
        guard self.head != nil else {
            self.head = bytes
            return
        }
        if self.tail == nil { self.tail = CircularBuffer(initialCapacity: 4) }
        self.tail?.append(bytes)
    }

    /// Takes the first `count` bytes of the oldest buffer, at most all of it.
    mutating func dequeue(_ count: Int) -> ByteBuffer {
        guard var first = self.head, let part = first.readSlice(length: count) else {
            preconditionFailure("more was taken than waits")
        }
        self.queuedBytes -= count
        guard first.readableBytes == 0 else {
            self.head = first
            return part
        }
        self.head = self.tail?.popFirst()
        if self.head == nil { self.tail = nil }
        return part
    }

    mutating func dropQueue() {
        self.head = nil
        self.tail = nil
        self.queuedBytes = 0
    }
}

/// The streams of a link, by slot and by id.
struct StreamTable: Sendable {
    private var slots: ContiguousArray<StreamState> = []
    private var free: [Int] = []
    private var slotOfID: [UInt32: Int] = [:]

    var count: Int { self.slotOfID.count }
    var handles: [StreamHandle] { self.slotOfID.map { StreamHandle(id: $0.key, slot: $0.value) } }

    mutating func insert(_ state: StreamState) -> StreamHandle {
        let slot: Int
        if let reused = self.free.popLast() {
            slot = reused
            self.slots[slot] = state
        } else {
            slot = self.slots.count
            self.slots.append(state)
        }
        self.slotOfID[state.id] = slot
        return StreamHandle(id: state.id, slot: slot)
    }

    mutating func remove(_ handle: StreamHandle) {
        guard self.contains(handle) else { return }
        self.slotOfID[handle.id] = nil
        if self.slotOfID.isEmpty {
            self = StreamTable()
        } else {
            self.slots[handle.slot] = .vacant
            self.free.append(handle.slot)
        }
    }

    func find(_ id: UInt32) -> StreamHandle? {
        self.slotOfID[id].map { StreamHandle(id: id, slot: $0) }
    }

    func contains(_ handle: StreamHandle) -> Bool {
        // A vacant slot has id 0, as has ``StreamHandle/crossing``.
        handle.id != 0 && handle.slot < self.slots.count
            && self.slots[handle.slot].id == handle.id
    }

    /// The state in place. The handle must be of a stream that is there.
    subscript(_ handle: StreamHandle) -> StreamState {
        _read { yield self.slots[handle.slot] }
        _modify { yield &self.slots[handle.slot] }
    }
}
