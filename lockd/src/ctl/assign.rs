//! `lockctl assign` and `lockctl transfer`.

use serde::Serialize;

use super::args::{Assign, Transfer};
use super::failure::Failure;
use super::place::Place;
use super::text::Clean;
use super::{exit, output};

#[derive(Serialize)]
struct Assigned<'a> {
    name: &'a str,
    holder: &'a str,
}

/// Assigns a lock to a caller, whoever holds it.
pub(super) async fn assign(place: &Place, options: &Assign) -> Result<u8, Failure> {
    let manager = place.connect().await?;
    let request = manager.acquire_lock(options.name.as_str(), options.caller.as_str());
    let request = match options.ttl {
        Some(ttl) => request.ttl(ttl),
        None => request,
    };
    request.as_operator().await?;
    told(&options.name, &options.caller, options.json)
}

/// Moves a lock to another caller.
pub(super) async fn transfer(place: &Place, options: &Transfer) -> Result<u8, Failure> {
    let manager = place.connect().await?;
    let request = manager.transfer_lock(options.name.as_str(), options.caller.as_str());
    let request = match &options.from {
        Some(from) => request.from(from.as_str()),
        None => request,
    };
    request.as_operator().await?;
    told(&options.name, &options.caller, options.json)
}

fn told(name: &str, holder: &str, json: bool) -> Result<u8, Failure> {
    if json {
        output::json(&Assigned { name, holder })?;
    } else {
        output::line(&format!("{} is assigned to {}", Clean(name), Clean(holder)))?;
    }
    Ok(exit::OK)
}
