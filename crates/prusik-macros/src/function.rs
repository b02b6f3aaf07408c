//! The attribute on a function: its signature read, and the tool that it becomes.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned;
use syn::{
    Attribute, FnArg, GenericArgument, Ident, ItemFn, LitStr, Pat, PatType, PathArguments,
    ReturnType, Type,
};

use crate::attribute::{self, Effect, Key, Keys, argument_used};
use crate::text::{Complaints, doc};

const RESULT_HELP: &str = "a tool returns `Result<T, E>`: `T` is what the model is given, with \
     `serde::Serialize` and `schemars::JsonSchema`, and `E` is an enum with `prusik::Failure`, a \
     variant for each way to fail; one that cannot fail returns \
     `Result<T, std::convert::Infallible>`";

/// A parameter that the model fills, or the runtime where it carries the key.
struct Argument {
    name: Ident,
    ty: Type,
    doc: String,
    /// Those of `serde` and `schemars`.
    attributes: Vec<Attribute>,
}

/// What a function's parameter is passed.
enum Passed {
    Argument(Ident),
    /// What the tool works on, and whether the function borrows it.
    State(Ident, Box<Type>, bool),
    Context,
}

struct Signature {
    arguments: Vec<Argument>,
    passed: Vec<Passed>,
    value: TokenStream,
    failure: TokenStream,
}

pub(crate) fn expand(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let message = "`#[prusik::tool]` stands on an async function";
            let error = syn::Error::new(error.span(), message).to_compile_error();
            return quote!(#error #item);
        }
    };
    let mut complaints = Complaints::default();
    let name_span = function.sig.ident.span();
    let keys = attribute::read(attribute, name_span, &mut complaints);
    let description = doc(&function.attrs);
    if description.is_none() {
        complaints.say(
            name_span,
            "say what the tool does: its doc comment (`/// …`) is the description that the model reads",
        );
    }
    check_form(&function, &mut complaints);
    let signature = read_signature(&mut function, &mut complaints);
    check_names(&keys, &signature, &mut complaints);
    let own = LitStr::new(&function.sig.ident.unraw().to_string(), name_span);
    let name = match keys.name.clone() {
        Some(name) => Some(name),
        None => complaints.take(attribute::tool_name(own)),
    };
    match (complaints.into_error(), name, description) {
        (None, Some(name), Some(description)) => {
            let body = body(&function, &signature, &keys, &name, &description);
            constructor(&function, &signature, &body)
        }
        (error, _, _) => {
            let error = error.map(|error| error.to_compile_error());
            // One that is never run stands in, so that nothing is said about its callers.
            let stub = constructor(&function, &signature, &quote!(::core::unreachable!()));
            quote!(#error #[allow(unused, reason = "it did not compile")] #stub)
        }
    }
}

/// Returns the function that makes the tool of what it works on.
fn constructor(function: &ItemFn, signature: &Signature, body: &TokenStream) -> TokenStream {
    let (visibility, name) = (&function.vis, &function.sig.ident);
    let kept = function.attrs.iter().filter(|attribute| {
        ["doc", "cfg", "deprecated", "must_use"].iter().any(|name| attribute.path().is_ident(name))
    });
    let states = signature.passed.iter().filter_map(|passed| match passed {
        Passed::State(name, ty, true) => {
            Some(quote!(#name: impl ::core::convert::Into<::std::sync::Arc<#ty>>))
        }
        Passed::State(name, ty, false) => Some(quote!(#name: #ty)),
        Passed::Argument(_) | Passed::Context => None,
    });
    quote! {
        #(#kept)*
        #visibility fn #name(#(#states),*) -> ::prusik::RustTool { #body }
    }
}

fn check_form(function: &ItemFn, complaints: &mut Complaints) {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        complaints.say(signature.fn_token.span, "a tool is an async function: write `async fn`");
    }
    if !signature.generics.params.is_empty() {
        complaints.say(
            signature.generics.span(),
            "a tool has no type parameters or lifetimes: what the model fills has one schema",
        );
    }
}

/// Reads the parameters, and takes the attributes off them that only this macro knows.
fn read_signature(function: &mut ItemFn, complaints: &mut Complaints) -> Signature {
    let (mut arguments, mut passed) = (Vec::new(), Vec::new());
    for input in &mut function.sig.inputs {
        match input {
            FnArg::Receiver(receiver) => complaints.say(
                receiver.span(),
                "a tool is a free function: take what it works on as `#[state] name: &Type`",
            ),
            FnArg::Typed(parameter) => {
                let attributes = std::mem::take(&mut parameter.attrs);
                let read = read_parameter(parameter, attributes, &mut arguments, complaints);
                passed.extend(complaints.take(read));
            }
        }
    }
    let (value, failure) = match complaints.take(result_types(&function.sig.output)) {
        Some(types) => types,
        None => (quote!(()), quote!(::core::convert::Infallible)),
    };
    Signature { arguments, passed, value, failure }
}

fn read_parameter(
    parameter: &PatType,
    attributes: Vec<Attribute>,
    arguments: &mut Vec<Argument>,
    complaints: &mut Complaints,
) -> syn::Result<Passed> {
    let Pat::Ident(pattern) = parameter.pat.as_ref() else {
        let message = "a parameter of a tool has a name: the model fills it by that";
        return Err(syn::Error::new(parameter.pat.span(), message));
    };
    let (name, ty) = (pattern.ident.clone(), parameter.ty.as_ref().clone());
    let is = |word: &str| attributes.iter().any(|attribute| attribute.path().is_ident(word));
    if is("context") {
        return Ok(Passed::Context);
    }
    if is("state") {
        return match ty {
            Type::Reference(reference) if reference.mutability.is_some() => {
                let message =
                    "calls share what a tool works on: take it as `&T`, with a lock inside";
                Err(syn::Error::new(reference.span(), message))
            }
            Type::Reference(reference) => {
                let inner = match *reference.elem {
                    Type::Paren(paren) => *paren.elem,
                    other => other,
                };
                Ok(Passed::State(name, Box::new(inner), true))
            }
            owned => Ok(Passed::State(name, Box::new(owned), false)),
        };
    }
    let plain = name.unraw().to_string();
    let doc = doc(&attributes);
    if doc.is_none() {
        let message = format!(
            "say what `{plain}` is: a doc comment (`/// …`) above it is what the model reads; \
             `#[state]` marks what the tool works on, `#[context]` the call itself"
        );
        complaints.say(name.span(), message);
    }
    let (kept, other): (Vec<_>, Vec<_>) =
        attributes.into_iter().filter(|attribute| !attribute.path().is_ident("doc")).partition(
            |attribute| ["serde", "schemars"].iter().any(|name| attribute.path().is_ident(name)),
        );
    if let Some(other) = other.first() {
        let message = "a parameter may have `#[state]`, `#[context]`, `#[serde(…)]` and \
                       `#[schemars(…)]`";
        complaints.say(other.span(), message);
    }
    if let Type::Reference(reference) = &ty {
        let message = "the model fills this one, so that it is owned: `String` and not `&str`; \
                       `#[state]` marks what is borrowed";
        return Err(syn::Error::new(reference.span(), message));
    }
    let doc = doc.unwrap_or_default();
    arguments.push(Argument { name: name.clone(), ty, doc, attributes: kept });
    Ok(Passed::Argument(name))
}

/// Returns what the function returns when it succeeds and when it fails.
fn result_types(output: &ReturnType) -> syn::Result<(TokenStream, TokenStream)> {
    let wrong = |span: Span| syn::Error::new(span, RESULT_HELP);
    let ReturnType::Type(_, ty) = output else { return Err(wrong(Span::call_site())) };
    let Type::Path(path) = ty.as_ref() else { return Err(wrong(ty.span())) };
    let last = path.path.segments.last().filter(|last| last.ident == "Result");
    let Some(last) = last else { return Err(wrong(ty.span())) };
    let PathArguments::AngleBracketed(angle) = &last.arguments else {
        return Err(wrong(ty.span()));
    };
    let types: Vec<&Type> = angle
        .args
        .iter()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
        .collect();
    if let [value, failure] = types.as_slice() {
        return Ok((quote!(#value), quote!(#failure)));
    }
    // An alias such as `type Result<T> = std::result::Result<T, BankError>`.
    let part = |name: &str| {
        let name = Ident::new(name, Span::call_site());
        quote_spanned!(ty.span()=> <#ty as ::prusik::__private::IsResult>::#name)
    };
    Ok((part("Value"), part("Failure")))
}

/// Checks that the parameters exist which the attribute names.
fn check_names(keys: &Keys, signature: &Signature, complaints: &mut Complaints) {
    let names: Vec<String> =
        signature.arguments.iter().map(|argument| argument.name.unraw().to_string()).collect();
    let all = || names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let idempotent = matches!(keys.effect, Some((Effect::Idempotent, _)));
    if let Some((Key::Argument(name), _)) = &keys.key
        && idempotent
        && !names.contains(&name.value())
    {
        let message = format!(
            "there is no parameter `{}` for the key: the tool takes {}; add `{}: String`, which the \
             runtime fills and the model does not see",
            name.value(),
            all(),
            name.value(),
        );
        complaints.say(name.span(), message);
    }
    let attributes = signature.arguments.iter().flat_map(|argument| &argument.attributes);
    if attributes.into_iter().any(|a| a.to_token_stream().to_string().contains("rename")) {
        // The names that `serde` gives are known when the agent is built, and checked there.
        return;
    }
    let probe = keys.probe.iter().flat_map(|(probe, _)| &probe.other.arguments);
    let undo = keys.undo.iter().flat_map(|(undo, _)| &undo.arguments);
    for (_, literal, span) in probe.chain(undo) {
        if let Some(used) = argument_used(literal)
            && !names.iter().any(|name| name == used)
        {
            let message = format!("the tool has no parameter `{used}`: it takes {}", all());
            complaints.say(*span, message);
        }
    }
}

/// Returns what the constructor does.
fn body(
    function: &ItemFn,
    signature: &Signature,
    keys: &Keys,
    name: &LitStr,
    description: &str,
) -> TokenStream {
    let mut inner = function.clone();
    inner.vis = syn::Visibility::Inherited;
    inner.attrs.retain(|attribute| {
        !["doc", "cfg", "deprecated", "must_use"].iter().any(|name| attribute.path().is_ident(name))
    });
    // No name of the program's stands in its way: not a parameter, nor one of ours.
    let call = Ident::new("__prusik_body", function.sig.ident.span());
    inner.sig.ident = call.clone();
    let fields = signature.arguments.iter().map(
        |Argument { name, ty, doc, attributes }| quote!(#[doc = #doc] #(#attributes)* #name: #ty),
    );
    let held = signature.passed.iter().filter_map(|passed| match passed {
        Passed::State(name, ty, true) => Some((name, quote!(::std::sync::Arc<#ty>), true)),
        Passed::State(name, ty, false) => Some((name, quote!(#ty), false)),
        Passed::Argument(_) | Passed::Context => None,
    });
    let (mut held_fields, mut held_values) = (Vec::new(), Vec::new());
    for (name, ty, borrowed) in held {
        held_fields.push(quote!(#name: #ty));
        held_values.push(if borrowed {
            quote!(#name: ::core::convert::Into::into(#name))
        } else {
            quote!(#name)
        });
    }
    let (arguments, context) =
        (format_ident!("__prusik_arguments"), format_ident!("__prusik_call"));
    let passed = signature.passed.iter().map(|passed| match passed {
        Passed::Argument(name) => quote!(#arguments.#name),
        Passed::State(name, _, true) => quote!(&self.#name),
        Passed::State(name, _, false) => quote!(::core::clone::Clone::clone(&self.#name)),
        Passed::Context => quote!(#context),
    });
    let (value, failure, terms) = (&signature.value, &signature.failure, keys.terms());
    quote! {
        #[allow(clippy::unused_async, reason = "a tool is async whether it waits or not")]
        #inner

        #[derive(::prusik::__private::serde::Deserialize, ::prusik::__private::schemars::JsonSchema)]
        #[serde(crate = "::prusik::__private::serde", deny_unknown_fields)]
        #[schemars(crate = "::prusik::__private::schemars")]
        struct __PrusikArguments { #(#fields),* }

        struct __PrusikTool { #(#held_fields),* }

        impl ::prusik::__private::Body for __PrusikTool {
            type Arguments = __PrusikArguments;
            type Value = #value;
            type Failure = #failure;

            async fn perform(
                &self,
                #arguments: Self::Arguments,
                #context: &::prusik::Call<'_>,
            ) -> ::core::result::Result<Self::Value, Self::Failure> {
                let _ = (&#arguments, #context);
                #call(#(#passed),*).await
            }
        }

        ::prusik::__private::tool(
            ::prusik::__private::Terms { name: #name, description: #description, #terms },
            __PrusikTool { #(#held_values),* },
        )
    }
}
