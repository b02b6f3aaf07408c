//! The derive on an enum: its variants as the kinds of failure that a tool may report.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Expr, ExprLit, Fields, Lit, Meta, Token, Variant};

use crate::text::{Complaints, doc, said_once, snake_case, unknown_key};

const KEYS: [&str; 4] = ["retry", "tell", "kind", "uncertain"];

/// What a variant says of itself.
#[derive(Default)]
struct Kind {
    name: String,
    retry: bool,
    tell: Option<String>,
    uncertain: bool,
    /// The field with the time after which the same call may succeed.
    retry_after: Option<syn::Member>,
}

pub(crate) fn expand(item: TokenStream) -> TokenStream {
    let item: DeriveInput = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => return error.to_compile_error(),
    };
    let mut complaints = Complaints::default();
    let mut kinds: Vec<(&Variant, Kind)> = Vec::new();
    match &item.data {
        Data::Enum(data) => {
            for variant in &data.variants {
                if let Some(kind) = complaints.take(read(variant)) {
                    if let Some((_, first)) = kinds.iter().find(|(_, k)| k.name == kind.name) {
                        let message = format!("two variants are the kind `{}`", first.name);
                        complaints.say(variant.ident.span(), message);
                    }
                    kinds.push((variant, kind));
                }
            }
        }
        Data::Struct(_) | Data::Union(_) => complaints.say(
            item.ident.span(),
            format!(
                "the failures of a tool are an enum, a variant for each way to fail: write \
                 `enum {} {{ … }}`",
                item.ident
            ),
        ),
    }
    if let Some(error) = complaints.into_error() {
        let error = error.to_compile_error();
        // One that is never used stands in, so that nothing is said about its tools.
        let stub = matches!(item.data, Data::Enum(_)).then(|| implementation(&item, &[]));
        return quote!(#error #stub);
    }
    implementation(&item, &kinds)
}

fn read(variant: &Variant) -> syn::Result<Kind> {
    let mut kind = Kind { name: snake_case(&variant.ident.to_string()), ..Kind::default() };
    let mut all = Vec::new();
    for attribute in variant.attrs.iter().filter(|a| a.path().is_ident("failure")) {
        let metas = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
        all.extend(metas.iter().cloned());
        said_once(&all, "`#[failure(…)]`")?;
        for meta in &metas {
            let name = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
            match name.as_str() {
                "retry" => kind.retry = flag(meta)?,
                "uncertain" => kind.uncertain = flag(meta)?,
                "tell" => kind.tell = Some(text(meta)?),
                "kind" => kind.name = text(meta)?,
                _ => return Err(unknown_key(meta.span(), &name, "`#[failure(…)]`", &KEYS)),
            }
        }
        if kind.uncertain && (kind.retry || kind.tell.is_some()) {
            let message = "what may have landed is looked at as after a crash: `uncertain` stands \
                           without `retry` and `tell`";
            return Err(syn::Error::new(attribute.span(), message));
        }
    }
    if !kind.uncertain {
        kind.tell = kind.tell.or_else(|| doc(&variant.attrs));
        if kind.tell.is_none() {
            let message = format!(
                "say what `{}` means: its doc comment (`/// …`), or `#[failure(tell = \"…\")]`, is \
                 what the model is told to make of it",
                variant.ident
            );
            return Err(syn::Error::new(variant.ident.span(), message));
        }
    }
    for (index, field) in variant.fields.iter().enumerate() {
        for attribute in field.attrs.iter().filter(|a| a.path().is_ident("failure")) {
            let word: syn::Ident = attribute.parse_args()?;
            if word != "retry_after_ms" {
                let message = "a field may be marked `#[failure(retry_after_ms)]`";
                return Err(syn::Error::new(word.span(), message));
            }
            if kind.retry_after.is_some() {
                let message = "two fields say when the call may succeed: keep one of them";
                return Err(syn::Error::new(word.span(), message));
            }
            kind.retry_after = Some(match &field.ident {
                Some(name) => syn::Member::Named(name.clone()),
                None => syn::Member::from(index),
            });
        }
    }
    Ok(kind)
}

fn flag(meta: &Meta) -> syn::Result<bool> {
    match meta {
        Meta::Path(_) => Ok(true),
        Meta::List(_) | Meta::NameValue(_) => {
            Err(syn::Error::new(meta.span(), "this word stands alone"))
        }
    }
}

fn text(meta: &Meta) -> syn::Result<String> {
    if let Meta::NameValue(pair) = meta
        && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value
    {
        return Ok(text.value());
    }
    Err(syn::Error::new(meta.span(), "a text in quotes is due here: `… = \"…\"`"))
}

fn implementation(item: &DeriveInput, kinds: &[(&Variant, Kind)]) -> TokenStream {
    let name = &item.ident;
    let (generics, own, bounds) = item.generics.split_for_impl();
    let declared = kinds.iter().filter(|(_, kind)| !kind.uncertain).map(|(_, kind)| {
        let (name, retry, tell) = (&kind.name, kind.retry, &kind.tell);
        quote!(::prusik::FailureKind { kind: #name, retry: #retry, tell: #tell })
    });
    let reserved = kinds.iter().filter(|(_, kind)| !kind.uncertain).map(|(variant, kind)| {
        let name = &kind.name;
        let message = format!(
            "the runtime reports the kind `{name}` itself: rename the variant, or give it another \
             name with #[failure(kind = \"…\")]"
        );
        quote_spanned!(variant.ident.span()=>
            const _: () = ::core::assert!(!::prusik::__private::is_reserved(#name), #message);
        )
    });
    let arms = kinds.iter().map(|(variant, kind)| {
        let variant_name = &variant.ident;
        let (pattern, after) = match &kind.retry_after {
            Some(field) => (
                quote!({ #field: after, .. }),
                quote!(::core::option::Option::Some(::core::convert::Into::into(*after))),
            ),
            None => (
                match &variant.fields {
                    Fields::Unit => TokenStream::new(),
                    Fields::Named(_) | Fields::Unnamed(_) => quote!({ .. }),
                },
                quote!(::core::option::Option::None),
            ),
        };
        let (kind_name, uncertain) = (&kind.name, kind.uncertain);
        quote!(Self::#variant_name #pattern => ::prusik::Reported {
            kind: #kind_name, may_have_landed: #uncertain, retry_after_ms: #after,
        })
    });
    let report = if kinds.is_empty() {
        quote!(::core::unreachable!())
    } else {
        quote!(match self { #(#arms),* })
    };
    quote! {
        #(#reserved)*
        #[automatically_derived]
        impl #generics ::prusik::Failure for #name #own #bounds {
            const KINDS: &'static [::prusik::FailureKind] = &[#(#declared),*];

            fn report(&self) -> ::prusik::Reported {
                #report
            }
        }
    }
}
