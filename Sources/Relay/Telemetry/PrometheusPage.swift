#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A page in the Prometheus text format while it is written.
struct PrometheusPage {
    /// Stands before every name of ours.
    static let prefix = "pgshare_"

    private(set) var text = ""

    mutating func write(_ name: String, _ help: String, _ counter: Counter) {
        self.head(name, help, type: "counter")
        self.sample(name, "", counter.value)
    }

    mutating func write(_ name: String, _ help: String, _ gauge: Gauge) {
        self.head(name, help, type: "gauge")
        self.sample(name, "", gauge.value)
    }

    mutating func write<Label>(_ name: String, _ help: String, _ counter: LabeledCounter<Label>) {
        self.head(name, help, type: "counter")
        for label in Label.allCases {
            self.sample(name, Self.labels(label), counter.value(label))
        }
    }

    mutating func write<Label>(_ name: String, _ help: String, _ gauge: LabeledGauge<Label>) {
        self.head(name, help, type: "gauge")
        for label in Label.allCases {
            self.sample(name, Self.labels(label), gauge.value(label))
        }
    }

    mutating func write(_ name: String, _ help: String, _ histogram: DurationHistogram) {
        self.head(name, help, type: "histogram")
        let snapshot = histogram.snapshot
        for (bound, count) in snapshot.cumulative {
            self.sample("\(name)_bucket", "{le=\"\(bound)\"}", count)
        }
        self.text += "\(Self.prefix)\(name)_sum \(snapshot.sumSeconds)\n"
        self.sample("\(name)_count", "", snapshot.cumulative.last?.count ?? 0)
    }

    /// What Prometheus expects of every process, where the system tells it.
    mutating func writeProcess() {
        guard let bytes = Self.residentBytes() else { return }
        self.text += "# HELP process_resident_memory_bytes Resident memory.\n"
        self.text += "# TYPE process_resident_memory_bytes gauge\n"
        self.text += "process_resident_memory_bytes \(bytes)\n"
    }

    private mutating func head(_ name: String, _ help: String, type: String) {
        self.text += "# HELP \(Self.prefix)\(name) \(help)\n"
        self.text += "# TYPE \(Self.prefix)\(name) \(type)\n"
    }

    private mutating func sample(_ name: String, _ labels: String, _ value: Int) {
        self.text += "\(Self.prefix)\(name)\(labels) \(value)\n"
    }

    private static func labels<Label: MetricLabel>(_ label: Label) -> String {
        "{\(Label.labelName)=\"\(label.rawValue)\"}"
    }

    /// The second number of `/proc/self/statm` counts resident pages; nil where there is no such
    /// file.
    private static func residentBytes() -> Int? {
        guard let file = fopen("/proc/self/statm", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, Int32(line.count), file) != nil else { return nil }
        let bytes = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let numbers = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard numbers.count > 1, let pages = Int(numbers[1]) else { return nil }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
