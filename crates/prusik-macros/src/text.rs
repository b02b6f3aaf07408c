//! Words: doc comments as one text, names in another case, and what was meant by a wrong name.

use std::collections::BTreeSet;

use proc_macro2::Span;
use quote::ToTokens as _;
use syn::spanned::Spanned as _;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Returns the doc comment among `attributes` as text: a paragraph is one line.
pub(crate) fn doc(attributes: &[Attribute]) -> Option<String> {
    let mut text = String::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let Meta::NameValue(pair) = &attribute.meta else { continue };
        let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &pair.value else { continue };
        for line in line.value().split('\n') {
            let line = line.trim();
            let begins = line.is_empty() || line.starts_with(['-', '*', '|', '#', '>']);
            if !text.is_empty() {
                text.push(if begins || text.ends_with('\n') { '\n' } else { ' ' });
            }
            text.push_str(line);
        }
    }
    let text = text.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Returns the name of a variant as the name of a kind.
pub(crate) fn snake_case(name: &str) -> String {
    let mut text = String::new();
    let characters: Vec<char> = name.chars().collect();
    for (index, character) in characters.iter().enumerate() {
        if character.is_uppercase() {
            let after_lower = index > 0 && !characters[index - 1].is_uppercase();
            let before_lower = characters.get(index + 1).is_some_and(|next| next.is_lowercase());
            if index > 0 && (after_lower || before_lower) && !text.ends_with('_') {
                text.push('_');
            }
            text.extend(character.to_lowercase());
        } else {
            text.push(*character);
        }
    }
    text
}

/// Returns the complaint about a key that does not exist: with the one that was meant, or all.
pub(crate) fn unknown_key(span: Span, found: &str, place: &str, keys: &[&str]) -> syn::Error {
    let near = keys
        .iter()
        .map(|key| (strsim::damerau_levenshtein(found, key), key))
        .filter(|(distance, key)| *distance <= 1 + key.len() / 4)
        .min_by_key(|(distance, _)| *distance);
    let help = match near {
        Some((_, key)) => format!("did you mean `{key}`?"),
        None => format!("there are {}", listed(keys)),
    };
    syn::Error::new(span, format!("{place} has no key `{found}`: {help}"))
}

/// Returns the name of a key.
pub(crate) fn name_of(meta: &Meta) -> String {
    meta.path().to_token_stream().to_string().replace(' ', "").trim_start_matches("r#").to_owned()
}

/// Complains about each key that stands there again: one of the two would silently not count.
pub(crate) fn said_once<'a>(
    metas: impl IntoIterator<Item = &'a Meta>,
    place: &str,
) -> syn::Result<()> {
    let (mut seen, mut complaints) = (BTreeSet::new(), Complaints::default());
    for meta in metas {
        let name = name_of(meta);
        if seen.contains(&name) {
            let message = format!("{place} says `{name}` twice: keep one of them");
            complaints.say(meta.span(), message);
        }
        seen.insert(name);
    }
    complaints.into_error().map_or(Ok(()), Err)
}

/// Returns names as people list them.
fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Collects complaints, so that all of them are seen at once.
#[derive(Default)]
pub(crate) struct Complaints(Option<syn::Error>);

impl Complaints {
    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn say(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(syn::Error::new(span, message));
    }

    /// Keeps what is there, and complains about what is not.
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    pub(crate) fn into_error(self) -> Option<syn::Error> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_doc_comment_becomes_a_text_with_its_paragraphs() {
        let item: syn::ItemFn = parse_quote! {
            /// Books a payment
            /// at once.
            ///
            /// - never twice
            /// - never late
            fn pay() {}
        };
        let text = doc(&item.attrs).unwrap();
        assert_eq!(text, "Books a payment at once.\n\n- never twice\n- never late");
        let bare: syn::ItemFn = parse_quote! { ///
        fn pay() {} };
        assert_eq!(doc(&bare.attrs), None);
    }

    #[test]
    fn kinds_are_named_like_their_variants() {
        for (name, kind) in [
            ("Closed", "closed"),
            ("InsufficientFunds", "insufficient_funds"),
            ("HTTPError", "http_error"),
            ("Iban2Bad", "iban2_bad"),
            ("Already_Snake", "already_snake"),
        ] {
            assert_eq!(snake_case(name), kind);
        }
    }
}
