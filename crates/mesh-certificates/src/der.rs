//! Private keys in the older PEM forms (`RSA PRIVATE KEY`, `EC PRIVATE KEY`), rewritten as PKCS#8, the one form that
//! ring reads. Only the envelope is written; the key inside is copied.

/// A private key that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormError {
    /// Not PEM.
    #[error("not PEM: {0}")]
    Pem(String),
    /// PEM of something else.
    #[error("holds `{0}`, not a private key")]
    Label(String),
    /// An EC key that does not say its curve.
    #[error("the EC key does not name its curve")]
    Curve,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const CONTEXT_0: u8 = 0xa0;
const NULL: [u8; 2] = [0x05, 0x00];
/// Object identifiers, encoded: rsaEncryption and id-ecPublicKey.
const RSA_ENCRYPTION: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The first private key of a PEM text as PKCS#8 DER.
///
/// # Errors
/// [`KeyFormError`].
pub fn pkcs8(pem: &str) -> Result<Vec<u8>, KeyFormError> {
    // openssl writes `EC PARAMETERS` before an EC key.
    let mut labels = Vec::new();
    for block in x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|error| KeyFormError::Pem(error.to_string()))?;
        match block.label.as_str() {
            "PRIVATE KEY" => return Ok(block.contents),
            "RSA PRIVATE KEY" => return Ok(wrap(&[RSA_ENCRYPTION.as_slice(), &NULL].concat(), &block.contents)),
            "EC PRIVATE KEY" => {
                let curve = curve(&block.contents).ok_or(KeyFormError::Curve)?;
                return Ok(wrap(&[EC_PUBLIC_KEY.as_slice(), curve].concat(), &block.contents));
            }
            other => labels.push(other.to_owned()),
        }
    }
    Err(labels
        .into_iter()
        .next_back()
        .map_or_else(|| KeyFormError::Pem("no PEM block".to_owned()), KeyFormError::Label))
}

fn wrap(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let body = [element(INTEGER, &[0]), element(SEQUENCE, algorithm), element(OCTET_STRING, key)].concat();
    element(SEQUENCE, &body)
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    match significant {
        [] => bytes.push(0),
        [one] if *one < 0x80 => bytes.push(*one),
        several => {
            bytes.push(0x80 | u8::try_from(several.len()).expect("invariant: a length has at most eight bytes"));
            bytes.extend(several);
        }
    }
    bytes.extend(content);
    bytes
}

/// The curve's object identifier, encoded, out of `ECPrivateKey { version, key, [0] parameters, [1] public key }`.
fn curve(sec1: &[u8]) -> Option<&[u8]> {
    let (tag, mut fields, _) = split(sec1)?;
    if tag != SEQUENCE {
        return None;
    }
    while !fields.is_empty() {
        let (tag, content, rest) = split(fields)?;
        if tag == CONTEXT_0 {
            return (content.first() == Some(&OBJECT_ID)).then_some(content);
        }
        fields = rest;
    }
    None
}

/// Tag, content and what follows of the first element.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if length.len() > size_of::<usize>() {
            return None;
        }
        (length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_der_wants_them() {
        assert_eq!(element(4, &[])[..], [4, 0]);
        assert_eq!(element(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(element(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(element(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(split(&element(4, &[7; 300])), Some((4, [7_u8; 300].as_slice(), [].as_slice())));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(matches!(pkcs8("hello"), Err(KeyFormError::Pem(_))));
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(pkcs8(certificate), Err(KeyFormError::Label("CERTIFICATE".to_owned())));
        let truncated = "-----BEGIN EC PRIVATE KEY-----\nMIH/AAAA\n-----END EC PRIVATE KEY-----\n";
        assert_eq!(pkcs8(truncated), Err(KeyFormError::Curve));
    }
}
