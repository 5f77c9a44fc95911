/// Compares two byte sequences in a time that depends on their lengths alone.
///
/// The lengths are public: both sides know how long a key, a proof or a hash is.
func constantTimeEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    var difference: UInt8 = 0
    for index in left.indices {
        difference |= left[index] ^ right[index]
    }
    return difference == 0
}
