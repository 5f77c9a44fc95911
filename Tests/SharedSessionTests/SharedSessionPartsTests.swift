import NIOCore
import PostgresWire
import Testing

@testable import SharedSession

struct ListenBookTests {
    @Test func `a LISTEN counts when its transaction commits`() {
        var book = ListenBook()
        book.completed(.begin, tag: "BEGIN")
        book.completed(.listen("a"), tag: "LISTEN")
        #expect(book.channels.isEmpty)
        book.completed(.commit, tag: "COMMIT")
        #expect(book.channels == ["a"])
    }

    @Test func `a COMMIT that was a rollback takes it away`() {
        var book = ListenBook()
        book.completed(.listen("a"), tag: "LISTEN")
        book.completed(.commit, tag: "ROLLBACK")
        #expect(book.channels.isEmpty)
    }

    @Test func `a savepoint that is rolled back takes its own`() {
        var book = ListenBook()
        book.completed(.listen("a"), tag: "LISTEN")
        book.completed(.savepoint("s"), tag: "SAVEPOINT")
        book.completed(.listen("b"), tag: "LISTEN")
        book.completed(.rollbackTo("s"), tag: "ROLLBACK")
        book.completed(.listen("c"), tag: "LISTEN")
        book.completed(.release("s"), tag: "RELEASE")
        book.ended(committed: true)
        #expect(book.channels == ["a", "c"])
        book.completed(.unlistenAll, tag: "UNLISTEN")
        book.ended(committed: true)
        #expect(book.channels.isEmpty)
    }
}

struct StatementTableTests {
    @Test func `DEALLOCATE ALL makes room for the same name in the same text`() {
        var table = StatementTable(client: SessionClientID(rawValue: 3))
        let first = table.numberToPrepare("s")
        let entry = StatementTable.Entry(number: first, kept: nil, flags: [], effect: .none)
        table.announce("s", entry)
        table.confirm("s", entry, keeping: 100)
        table.exchangeEnded()
        table.hideAll()
        let second = table.numberToPrepare("s")
        #expect(second != first)
        #expect(table.removeNamed() == ["pgs3_\(first)"])
    }

    @Test func `what was not confirmed is gone with its exchange`() {
        var table = StatementTable(client: SessionClientID(rawValue: 3))
        let number = table.numberToPrepare("s")
        table.announce("s", .init(number: number, kept: nil, flags: [], effect: .none))
        #expect(table.resolve("s").number == number)
        table.exchangeEnded()
        #expect(table.resolve("s").number != number)
    }

    /// What a client sends is read in pieces of up to 64 KiB, and statements are slices of them.
    @Test func `a statement that is kept does not keep what was read with it`() throws {
        var table = StatementTable(client: SessionClientID(rawValue: 1))
        var read = ByteBuffer(repeating: 0x78, count: 64 * 1024)
        let front = read.readSlice(length: 9)
        let slice = try #require(front)
        let entry = StatementTable.Entry(
            number: 1, kept: .parse(slice), flags: [], effect: .none)
        table.confirm("s", entry, keeping: 1_000)
        guard case .parse(let kept)? = table.kept.first?.entry.kept else {
            Issue.record("it is not kept")
            return
        }
        #expect(kept == slice)
        #expect(kept.storageCapacity < 1_024)
    }

    @Test func `no more than the bound is kept for a restart`() {
        var table = StatementTable(client: SessionClientID(rawValue: 3))
        for (index, name) in ["a", "b"].enumerated() {
            table.confirm(
                name,
                .init(
                    number: index + 1, kept: .parse(ByteBuffer(repeating: 1, count: 60)),
                    flags: [], effect: .none), keeping: 100)
        }
        table.engineRestarted()
        #expect(table.kept.map(\.name) == ["a"])
    }
}

struct ErrorTranslationTests {
    @Test func `an error that names no statement is passed as it is`() {
        let error = Wire.error("42P01", "relation \"t\" does not exist")
        let table = StatementTable(client: SessionClientID(rawValue: 3))
        #expect(ErrorTranslation(table: table, plan: nil).translate(error) == error)
    }
}
