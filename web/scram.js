/**
 * Passwords and what a server keeps of them. The password itself never leaves the page.
 *
 * @module
 */

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const passwordLength = 24;
/** Postgres's default, `scram_iterations`. */
const iterations = 4096;
const saltBytes = 16;
const encoder = new TextEncoder();

/** 24 random characters of `[A-Za-z0-9]`: 143 bits. */
export function makePassword() {
    let password = "";
    while (password.length < passwordLength) {
        for (const byte of crypto.getRandomValues(new Uint8Array(2 * passwordLength))) {
            // 248 is the largest multiple of 62 in a byte: every character is as likely.
            if (byte < 248 && password.length < passwordLength) password += alphabet[byte % 62];
        }
    }
    return password;
}

/**
 * `SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY`, as Postgres keeps it (RFC 5803, RFC 7677).
 *
 * @param {string} password Printable ASCII, which SASLprep leaves as it is.
 * @param {Uint8Array} [salt]
 * @returns {Promise<string>}
 */
export async function makeVerifier(
    password, salt = crypto.getRandomValues(new Uint8Array(saltBytes))
) {
    const { storedKey, serverKey } = await deriveKeys(password, salt, iterations);
    const keys = `${base64(storedKey)}:${base64(serverKey)}`;
    return `SCRAM-SHA-256$${iterations}:${base64(salt)}$${keys}`;
}

/** The two keys of a verifier. Source: RFC 5802, section 3. */
export async function deriveKeys(password, salt, rounds) {
    const subtle = crypto.subtle;
    const material = await subtle.importKey(
        "raw", encoder.encode(password), "PBKDF2", false, ["deriveBits"]);
    const salted = await subtle.deriveBits(
        { name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds }, material, 256);
    const key = await subtle.importKey(
        "raw", salted, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const clientKey = await subtle.sign("HMAC", key, encoder.encode("Client Key"));
    const serverKey = await subtle.sign("HMAC", key, encoder.encode("Server Key"));
    const storedKey = await subtle.digest("SHA-256", clientKey);
    return { storedKey: new Uint8Array(storedKey), serverKey: new Uint8Array(serverKey) };
}

export function base64(bytes) {
    return btoa(String.fromCharCode(...bytes));
}
