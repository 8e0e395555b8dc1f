//! What a client says in `Accept-Encoding` (RFC 9110 §12.5.3).

use super::Coding;
use crate::message::Fields;
use crate::message::name::ACCEPT_ENCODING;

/// The weight of a thing without `q`, in thousandths.
const FULL: u16 = 1_000;

/// How much a client wants each coding, in thousandths; 0: not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    gzip: u16,
    brotli: u16,
    zstd: u16,
    /// `None`: not named, hence acceptable where nothing better is.
    identity: Option<u16>,
}

impl Accepted {
    /// Identity alone: a client that says nothing. It may be sent anything (RFC 9110 §12.5.3), but
    /// those who say nothing are those who would not know what to do with it.
    pub const IDENTITY: Self = Self { gzip: 0, brotli: 0, zstd: 0, identity: None };

    /// What these headers say: all lines of `Accept-Encoding` together.
    ///
    /// Lenient: an element that cannot be read counts for nothing and the others hold; what is
    /// named twice has its lower weight, so that nothing is sent that may have been refused.
    pub fn of(headers: &Fields) -> Self {
        let mut named = Named::default();
        for line in headers.get_all(ACCEPT_ENCODING) {
            for element in line.as_bytes().split(|byte| *byte == b',') {
                named.add(element);
            }
        }
        named.settled()
    }

    /// The coding to send: the one that the client wants most, of the same weight the first of
    /// `order`; identity where nothing of `order` is wanted, or where the client wants it more.
    /// `None`: nothing that there is may be sent.
    pub fn choose(&self, order: &[Coding]) -> Option<Coding> {
        let mut best = None;
        let mut most = 0;
        for coding in order {
            let weight = self.weight(*coding);
            if weight > most {
                (best, most) = (Some(*coding), weight);
            }
        }
        match self.identity {
            // Named: its weight counts like any other's.
            Some(identity) if identity > most => Some(Coding::Identity),
            Some(0) => best,
            Some(_) | None => Some(best.unwrap_or(Coding::Identity)),
        }
    }

    /// Whether this coding may be sent.
    pub fn allows(&self, coding: Coding) -> bool {
        match coding {
            Coding::Identity => self.identity != Some(0),
            other => self.weight(other) > 0,
        }
    }

    fn weight(&self, coding: Coding) -> u16 {
        match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
            Coding::Identity => self.identity.unwrap_or(0),
        }
    }
}

/// What has been named so far.
#[derive(Default)]
struct Named {
    gzip: Option<u16>,
    brotli: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Named {
    fn add(&mut self, element: &[u8]) {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let Some(weight) = weight(parts) else { return };
        let slot = match Coding::named(name) {
            Some(Coding::Gzip) => &mut self.gzip,
            Some(Coding::Brotli) => &mut self.brotli,
            Some(Coding::Zstd) => &mut self.zstd,
            Some(Coding::Identity) => &mut self.identity,
            None if name == b"*" => &mut self.any,
            None => return,
        };
        *slot = Some(slot.map_or(weight, |before| before.min(weight)));
    }

    /// `*` stands for every coding that is not named, identity among them.
    fn settled(self) -> Accepted {
        let of = |named: Option<u16>| named.or(self.any).unwrap_or(0);
        // `*` must not make identity as wanted as what is coded; `*;q=0` does refuse it.
        let refused = self.any.filter(|weight| *weight == 0);
        Accepted {
            gzip: of(self.gzip),
            brotli: of(self.brotli),
            zstd: of(self.zstd),
            identity: self.identity.or(refused),
        }
    }
}

/// The weight among the parameters of an element, 1 without one; `None` if it cannot be read.
fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    for parameter in parameters {
        let mut sides = parameter.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        if sides.next().is_some_and(|name| name.eq_ignore_ascii_case(b"q")) {
            return thousandths(sides.next()?);
        }
    }
    Some(FULL)
}

/// `0.5` → 500. More than 1 is 1, more than three decimals are cut off (but not down to nothing).
fn thousandths(text: &[u8]) -> Option<u16> {
    let mut sides = text.splitn(2, |byte| *byte == b'.');
    let (whole, part) = (sides.next()?, sides.next().unwrap_or_default());
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    if text.is_empty() || text == b"." || !digits(whole) || !digits(part) {
        return None;
    }
    if whole.iter().any(|digit| *digit != b'0') {
        return Some(FULL);
    }
    let mut value = 0;
    for place in 0..3 {
        value = value * 10 + u16::from(part.get(place).map_or(0, |digit| digit - b'0'));
    }
    let something = part.iter().any(|digit| *digit != b'0');
    Some(if something { value.max(1) } else { value })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn accepted(lines: &[&str]) -> Accepted {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        Accepted::of(&headers)
    }

    fn chosen(line: &str) -> Option<Coding> {
        accepted(&[line]).choose(&Coding::BY_SIZE)
    }

    #[test]
    fn what_is_wanted_most_is_chosen() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        for (line, expected) in [
            // Browsers and libraries.
            ("gzip, deflate, br, zstd", Some(Brotli)),
            ("gzip, deflate", Some(Gzip)),
            ("gzip", Some(Gzip)),
            ("zstd, gzip", Some(Zstd)),
            // Nothing, or nothing that there is.
            ("", Some(Identity)),
            ("deflate", Some(Identity)),
            ("compress, foo;q=1", Some(Identity)),
            ("identity", Some(Identity)),
            // Weights.
            ("br;q=0.5, gzip", Some(Gzip)),
            ("br;q=0.5, gzip;q=0.5", Some(Brotli)),
            ("br;q=0.8, zstd;q=0.9, gzip;q=0.7", Some(Zstd)),
            ("br;q=0, gzip;q=0.001", Some(Gzip)),
            ("br;q=0.000", Some(Identity)),
            ("gzip;Q=0.5, br;Q=0.4", Some(Gzip)),
            // Identity.
            ("identity, gzip;q=0.5", Some(Identity)),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("identity;q=0.5, gzip;q=0", Some(Identity)),
            ("identity;q=0", None),
            ("identity;q=0, deflate", None),
            ("identity;q=0, gzip", Some(Gzip)),
            ("gzip;q=0, identity;q=0", None),
            // Anything.
            ("*", Some(Brotli)),
            ("*;q=0", None),
            ("*;q=0, identity", Some(Identity)),
            ("gzip, *;q=0", Some(Gzip)),
            ("gzip;q=0.5, *", Some(Brotli)),
            ("br;q=0, *", Some(Zstd)),
            ("identity;q=0, *;q=0.1", Some(Brotli)),
            ("gzip, *;q=0.5", Some(Gzip)),
            // Old names, odd spaces.
            ("x-gzip", Some(Gzip)),
            ("  GZIP  ;  q = 0.5  ,,", Some(Gzip)),
            ("gzip;level=9;q=0", Some(Identity)),
            // What cannot be read counts for nothing.
            ("br;q=high, gzip", Some(Gzip)),
            ("br;q, gzip", Some(Gzip)),
            ("br;q=, gzip", Some(Gzip)),
            ("br;q=., gzip", Some(Gzip)),
            ("br;q=-1, gzip", Some(Gzip)),
            ("br;q=0.5.5, gzip;q=0.1", Some(Gzip)),
            ("br gzip", Some(Identity)),
            // What can be, though it should not be written so.
            ("br;q=.9, gzip;q=0.8", Some(Brotli)),
            ("br;q=0.00001", Some(Brotli)),
            ("gzip;q=0.1, br;q=7", Some(Brotli)),
            // Named twice: never what may have been refused.
            ("br, br;q=0, gzip", Some(Gzip)),
            ("x-gzip;q=0, gzip", Some(Identity)),
        ] {
            assert_eq!(chosen(line), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_count_together_and_none_means_identity() {
        assert_eq!(accepted(&["gzip;q=0.5", "br"]).choose(&Coding::BY_SIZE), Some(Coding::Brotli));
        assert_eq!(accepted(&[]), Accepted::IDENTITY);
        assert_eq!(accepted(&[]).choose(&Coding::BY_SIZE), Some(Coding::Identity));
    }

    #[test]
    fn the_order_decides_between_equals_and_what_is_not_in_it_is_not_there() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        let all = accepted(&["gzip, br, zstd"]);
        assert_eq!(all.choose(&[Zstd, Brotli, Gzip]), Some(Zstd));
        assert_eq!(all.choose(&[Gzip]), Some(Gzip));
        assert_eq!(all.choose(&[]), Some(Identity));
        assert_eq!(accepted(&["br, identity;q=0"]).choose(&[Gzip]), None);
        assert_eq!(accepted(&["*;q=0"]).choose(&[]), None);
    }

    #[test]
    fn what_may_be_sent() {
        let some = accepted(&["gzip;q=0.1, br;q=0"]);
        assert!(some.allows(Coding::Gzip) && some.allows(Coding::Identity));
        assert!(!some.allows(Coding::Brotli) && !some.allows(Coding::Zstd));
        assert!(!accepted(&["gzip, *;q=0"]).allows(Coding::Identity));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_choice_is_allowed(bytes in prop::collection::vec(0x20_u8..=0xff, 0..60)) {
            let mut headers = Fields::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(ACCEPT_ENCODING, value);
            }
            let accepted = Accepted::of(&headers);
            match accepted.choose(&Coding::BY_SIZE) {
                Some(coding) => prop_assert!(accepted.allows(coding)),
                None => prop_assert!(!accepted.allows(Coding::Identity)),
            }
        }

        /// Against the rules written down once more, on lists that name each thing at most once.
        #[test]
        fn well_formed_lists_are_read_as_the_rfc_says(
            weights in prop::array::uniform5(prop::option::of(0_u16..=1_000)),
            order in Just(vec![0_usize, 1, 2, 3, 4]).prop_shuffle(),
        ) {
            let names = ["br", "zstd", "gzip", "identity", "*"];
            let elements = order.iter().filter_map(|i| {
                let weight = weights[*i]?;
                Some(format!("{};q={}.{:03}", names[*i], weight / 1_000, weight % 1_000))
            });
            let line = elements.collect::<Vec<_>>().join(" , ");
            let [brotli, zstd, gzip, identity, any] = weights;
            let of = |own: Option<u16>| own.or(any).unwrap_or(0);
            let coded = [
                (of(brotli), Coding::Brotli), (of(zstd), Coding::Zstd), (of(gzip), Coding::Gzip),
            ];
            let most = coded.iter().map(|(weight, _)| *weight).max().unwrap_or(0);
            let first = coded.iter().find(|(weight, _)| *weight == most && most > 0);
            let expected = match (first, identity) {
                (_, Some(identity)) if identity > most => Some(Coding::Identity),
                (Some((_, coding)), _) => Some(*coding),
                (None, Some(0)) => None,
                (None, None) if any == Some(0) => None,
                (None, _) => Some(Coding::Identity),
            };
            prop_assert_eq!(chosen(&line), expected, "{}", line);
        }
    }
}
