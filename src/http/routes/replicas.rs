//! Which replicas are there?

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};

use super::{Service, reply};
use crate::{app::ReplicaView, http::problem::Problem};

/// Every registered replica: where it can be asked, and how far it is. None where one process alone answers. One that died
/// stays for a while.
#[utoipa::path(get, path = "/v1/replicas", tag = "history",
    responses((status = 200, body = reply::List<ReplicaView>), (status = 503)))]
pub(super) async fn replicas(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let reply::NoQuery {} = reply::query(request.uri())?;
    let items = service.app().replicas().await?;
    reply::json(StatusCode::OK, &reply::List { items, next: None })
}
