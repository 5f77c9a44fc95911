/// What a session has set: settings that differ from what RESET gives, by name.
///
/// Names are as Postgres spells them, custom ones in lower case; `role` and
/// `session_authorization` are among them. Values are as `set_config` takes them.
package struct SessionSettings: Sendable, Hashable {
    package var values: [String: String]

    package init(values: [String: String] = [:]) { self.values = values }
}
