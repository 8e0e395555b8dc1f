//! `compress` of a route.

use crate::config::compile::item;
use crate::config::schema::text::{CompressText, OneOrMany};
use crate::config::scope::Scope;
use crate::pipeline::coding::Coding;
use crate::pipeline::plan::CompressPlan;

/// How answers are coded; `None`: not at all.
pub(super) fn compress(
    written: &OneOrMany<CompressText>,
    scope: &Scope<'_>,
) -> Option<CompressPlan> {
    match written {
        OneOrMany::One(word) if &**word == "on" => return Some(CompressPlan::default()),
        OneOrMany::One(word) if &**word == "off" => return None,
        OneOrMany::Many(list) if list.is_empty() => {
            scope.fault("an empty list", CompressText::EXPECTED);
            return None;
        }
        OneOrMany::One(_) | OneOrMany::Many(_) => {}
    }
    let expected = match written {
        OneOrMany::One(_) => CompressText::EXPECTED,
        OneOrMany::Many(_) => "a coding: br, zstd or gzip",
    };
    let mut order = Vec::new();
    for (i, text) in written.iter() {
        let place = item(scope, i);
        let coding = Coding::BY_SIZE.into_iter().find(|coding| coding.name() == &**text);
        match place.parsed(text, coding, expected) {
            Some(coding) if order.contains(&coding) => place.bad(text, "each coding once"),
            Some(coding) => order.push(coding),
            None => {}
        }
    }
    (!order.is_empty()).then_some(CompressPlan { order })
}
