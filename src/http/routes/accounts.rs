//! `/v1/accounts/{account}`: closing an account, and what keeps it from being closed.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};

use super::{Service, reply};
use crate::{
    app::{AccountUpdate, AccountView},
    http::{json, problem::Problem},
    ids::Account,
};

/// An account: open, closing or closed, with the sites that are its own or paid by it.
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "accounts",
    params(("account" = String, Path, description = "Such as `user:maria` or `agency:studio-north`.")),
    responses((status = 200, body = AccountView), (status = 400, description = "Not a reference to an account.")))]
pub(super) async fn get_account(
    State(service): State<Service>,
    Path(account): Path<String>,
) -> Result<Response, Problem> {
    let account: Account = account.parse()?;
    reply::json(StatusCode::OK, &service.app().account(account).await?)
}

/// Says that an account is closing, is closed, or stays open after all.
#[utoipa::path(put, path = "/v1/accounts/{account}", tag = "accounts", request_body = AccountUpdate,
    params(("account" = String, Path, description = "Such as `user:maria` or `agency:studio-north`.")),
    responses(
        (status = 200, body = AccountView),
        (status = 400, description = "The request is malformed."),
        (status = 409, description = "`owns_sites`: the sites listed must be given back, handed over or deleted first; `account_closed`."),
    ))]
pub(super) async fn put_account(
    State(service): State<Service>,
    Path(account): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let account: Account = account.parse()?;
    let update: AccountUpdate = json::typed(json::read(request, service.limits().body).await?)?;
    let done = service.app().put_account(account, update).await?;
    service.app().effective(done.revision, None).await?;
    Ok(reply::stamped(reply::json(StatusCode::OK, &done.value)?, done.revision, None))
}
