/// In which order objects are dropped, so that nothing is dropped that is not named.
///
/// What needs another goes before it. Objects that need each other go together: by one statement
/// if they are of one kind, else by CASCADE. The caller has proved before that nothing else needs
/// any of them.
enum DropOrder {
    /// The statements, in order.
    static func statements(dropping addresses: Set<ObjectAddress>, of catalog: Catalog) -> [String]
    {
        self.groups(addresses, neededBy: catalog.neededBy).flatMap { group -> [String] in
            let entries = group.compactMap { catalog.entries[$0] }
            let kinds = Set(entries.map(\.object.kind))
            return kinds.count > 1
                ? entries.flatMap { ObjectSQL.drop([$0], cascades: true) }
                : ObjectSQL.drop(entries)
        }
    }

    /// Groups of objects that need each other, each before what it needs. Within a group, and
    /// between groups that have nothing to do with each other, by address: the same every time.
    ///
    /// Tarjan's strongly connected components, without recursion: a chain of views may be long.
    static func groups(
        _ addresses: Set<ObjectAddress>,
        neededBy: [ObjectAddress: Set<ObjectAddress>]
    ) -> [[ObjectAddress]] {
        var search = ComponentSearch(addresses, successors: neededBy)
        return search.run()
    }
}

/// Tarjan's algorithm; a component comes after every component that it leads to.
private struct ComponentSearch {
    private struct Visit {
        let address: ObjectAddress
        var successors: ArraySlice<ObjectAddress>
    }

    private let addresses: Set<ObjectAddress>
    private let successors: [ObjectAddress: Set<ObjectAddress>]
    private var numbers: [ObjectAddress: Int] = [:]
    private var lowest: [ObjectAddress: Int] = [:]
    private var open: [ObjectAddress] = []
    private var isOpen: Set<ObjectAddress> = []
    private var visits: [Visit] = []
    private var components: [[ObjectAddress]] = []

    init(_ addresses: Set<ObjectAddress>, successors: [ObjectAddress: Set<ObjectAddress>]) {
        self.addresses = addresses
        self.successors = successors
    }

    mutating func run() -> [[ObjectAddress]] {
        for address in self.addresses.sorted() where self.numbers[address] == nil {
            self.enter(address)
            while let visit = self.visits.last { self.step(visit) }
        }
        return self.components
    }

    private mutating func enter(_ address: ObjectAddress) {
        self.numbers[address] = self.numbers.count
        self.lowest[address] = self.numbers[address]
        self.open.append(address)
        self.isOpen.insert(address)
        let next = self.successors[address, default: []].intersection(self.addresses).sorted()
        self.visits.append(Visit(address: address, successors: next[...]))
    }

    private mutating func step(_ visit: Visit) {
        guard let next = visit.successors.first else { return self.leave(visit.address) }
        self.visits[self.visits.count - 1].successors = visit.successors.dropFirst()
        if self.numbers[next] == nil {
            self.enter(next)
        } else if self.isOpen.contains(next) {
            self.lower(visit.address, to: self.numbers[next])
        }
    }

    private mutating func leave(_ address: ObjectAddress) {
        self.visits.removeLast()
        if let parent = self.visits.last { self.lower(parent.address, to: self.lowest[address]) }
        guard self.lowest[address] == self.numbers[address],
            let start = self.open.lastIndex(of: address)
        else { return }
        let component = self.open[start...].sorted()
        self.open.removeSubrange(start...)
        self.isOpen.subtract(component)
        self.components.append(component)
    }

    private mutating func lower(_ address: ObjectAddress, to number: Int?) {
        guard let number, let old = self.lowest[address] else { return }
        self.lowest[address] = min(old, number)
    }
}

extension ObjectAddress: Comparable {
    /// By catalog, then by OID.
    public static func < (one: ObjectAddress, other: ObjectAddress) -> Bool {
        (one.classID, one.oid) < (other.classID, other.oid)
    }
}
