// Random numbers that a seed brings back. Source: mulberry32, public domain.

export function seeded(seed) {
    let state = seed >>> 0;
    const next = () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = state;
        mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
    return { next, below: (limit) => Math.floor(next() * limit) };
}

export function randomBytes(random, length) {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 1) bytes[at] = random.below(256);
    return bytes;
}
