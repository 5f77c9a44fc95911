/// One statement of a text of SQL: where it is, what it does to its session, whom it names.
package struct SQLStatement: Sendable, Hashable {
    /// Its bytes in the text, from its first token to its last; no white space, comment or
    /// semicolon around it.
    package var range: Range<Int>
    /// What it is, as far as a session that is shared needs to know.
    package var kind: Kind
    /// What it may leave behind in the session. What is not there is certainly not left behind.
    package var flags: Flags
    /// What of ``flags`` the text itself says: all but what functions do that nobody knows.
    package var statedFlags: Flags
    /// Names like `app.user`, in lower case, that stand where a setting is changed: they may be
    /// custom settings, which Postgres does not list. At most 64.
    package var customSettings: [String]

    package init(
        range: Range<Int>,
        kind: Kind,
        flags: Flags = [],
        statedFlags: Flags? = nil,
        customSettings: [String] = []
    ) {
        self.range = range
        self.kind = kind
        self.flags = flags
        self.statedFlags = statedFlags ?? flags
        self.customSettings = customSettings
    }

    /// What it may leave behind in the session, where it is known what the code stored in the
    /// database does: ``Flags/session`` and ``Flags/mayChangeSchema``.
    ///
    /// - Parameter storedCode: The last that was seen of it, and nothing has changed the schema
    ///   since; nil where nothing is known.
    /// - Returns: Flags without ``Flags/mayRunStoredCode``, which is answered then, unless nothing
    ///   is known.
    package func flags(given storedCode: SessionInspection.StoredCode?) -> Flags {
        guard let storedCode, !storedCode.mayTouchSession else {
            return self.flags.contains(.mayRunStoredCode)
                ? self.flags.union(.session) : self.flags
        }
        return self.statedFlags.subtracting(.mayRunStoredCode)
    }

    /// Statements that a session that is shared must tell apart.
    package enum Kind: Sendable, Hashable {
        case other
        /// BEGIN and START TRANSACTION.
        case begin
        /// COMMIT and END; also with AND CHAIN.
        case commit
        /// ROLLBACK and ABORT; also with AND CHAIN.
        case rollback
        case savepoint
        case rollbackToSavepoint
        case releaseSavepoint
        case prepareTransaction
        /// COMMIT PREPARED and ROLLBACK PREPARED.
        case finishPrepared
        /// PREPARE name AS …; its flags are those of what it prepares.
        case prepare(SQLName)
        /// EXECUTE name; also below EXPLAIN and CREATE TABLE … AS. It has every flag.
        case execute(SQLName)
        case deallocate(SQLName)
        /// DEALLOCATE [PREPARE] ALL; the range of the word ALL.
        case deallocateAll(Range<Int>)
        case discardAll
        /// DISCARD of something else: PLANS, SEQUENCES, TEMP.
        case discardOther
        case listen(SQLName)
        case unlisten(SQLName)
        /// UNLISTEN *; the range of the asterisk.
        case unlistenAll(Range<Int>)
        case notify
        /// SET of a setting, a role, …; not SET LOCAL and not SET TRANSACTION, which end with
        /// their transaction.
        case set
        /// RESET of one setting, by its name in lower case; nil where it has no plain name.
        case reset(String?)
        case resetAll
        case copyFromStdin
        case copyToStdout
        case declareCursor(hold: Bool)
        case closeCursor
    }

    /// What a statement may do beyond its transaction.
    package struct Flags: OptionSet, Sendable, Hashable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// May change a setting of the session, or its role.
        package static let mayChangeSettings = Self(rawValue: 1 << 0)
        /// May make a temporary table, view, sequence, type or function.
        package static let mayMakeTemp = Self(rawValue: 1 << 1)
        /// May take an advisory lock that outlasts the transaction.
        package static let mayLockAdvisory = Self(rawValue: 1 << 2)
        /// May leave a cursor open that outlasts the transaction.
        package static let mayHoldCursor = Self(rawValue: 1 << 3)
        /// May run code that is stored in the database and not named in the text: triggers, views,
        /// rules, policies, defaults, operators. Whether that code can touch the session at all,
        /// ``SessionInspection`` tells.
        package static let mayRunStoredCode = Self(rawValue: 1 << 4)
        /// May define or change such code (or anything else of the schema).
        package static let mayChangeSchema = Self(rawValue: 1 << 5)

        /// May set a custom setting whose name the text does not tell: where Postgres lists none,
        /// such a setting cannot be found, only reset with all others.
        package static let mayNameSettings = Self(rawValue: 1 << 6)

        /// All that stays in the session.
        package static let session: Self = [
            .mayChangeSettings, .mayMakeTemp, .mayLockAdvisory, .mayHoldCursor,
        ]
        /// All: nothing is known of the statement.
        package static let all: Self = [
            .session, .mayRunStoredCode, .mayChangeSchema, .mayNameSettings,
        ]
    }
}
