import SharePolicy

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// How many files and sockets the process may have open.
///
/// Where there are no more, accepting waits a second and tries again (NIO's
/// `AcceptBackoffHandler`): nothing spins and nothing dies, but clients wait, too. So strangers are
/// never given so many that it comes to that.
enum DescriptorLimit {
    /// What the store, certificates, logs and event loops need.
    static let reserve = 64

    /// Raises the limit as far as the process may.
    ///
    /// - Returns: The limit now; nil where the system does not say.
    static func raise() -> Int? {
        #if os(Linux) && canImport(Glibc)
            let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
            let files = RLIMIT_NOFILE
        #endif
        var limit = rlimit()
        guard getrlimit(files, &limit) == 0 else { return nil }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = limit.rlim_max
            if setrlimit(files, &raised) == 0 { limit = raised }
        }
        return Int(clamping: limit.rlim_cur)
    }
}

extension AdmissionLimits {
    /// The same limits, with no more than a quarter of the descriptors for the strangers of each of
    /// the two doors: half stay for clients and tunnels whatever strangers do.
    func fitted(toDescriptors descriptors: Int) -> AdmissionLimits {
        var fitted = self
        let most = max(1, (descriptors - DescriptorLimit.reserve) / 4)
        fitted.maximumPending = min(self.maximumPending, most)
        fitted.maximumPendingAnAddress = min(
            self.maximumPendingAnAddress, fitted.maximumPending)
        return fitted
    }

    /// Descriptors that are open when both doors and all clients' places are taken.
    var descriptorsNeeded: Int {
        DescriptorLimit.reserve + 2 * self.maximumPending + self.maximumClients
    }
}

extension RelayConfiguration {
    /// As it can be kept with the descriptors that the process may have.
    func fitted(toDescriptors descriptors: Int) -> RelayConfiguration {
        var fitted = self
        fitted.admission = self.admission.fitted(toDescriptors: descriptors)
        return fitted
    }
}
