//! Agencies with their people, and platform staff.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};

use super::{Service, reply, sites::created};
use crate::{
    app::AgencyUpdate,
    assignment::{Agency, AgencyStatus, MemberRole, StaffRole},
    http::{json, problem::Problem},
    ids::{AgencyId, StaffId, UserId},
};

/// An agency as it is shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct AgencyView {
    id: String,
    name: String,
    domain: String,
    verified: bool,
    status: AgencyStatus,
    /// Person → what they are there.
    members: BTreeMap<String, MemberRole>,
    revision: u64,
}

impl From<&Agency> for AgencyView {
    fn from(agency: &Agency) -> Self {
        Self {
            id: agency.id.to_string(),
            name: agency.name.clone(),
            domain: agency.domain.clone(),
            verified: agency.verified,
            status: agency.status,
            members: agency.members.iter().map(|(user, role)| (user.to_string(), *role)).collect(),
            revision: agency.revision.0,
        }
    }
}

/// `{"role":"admin|member|billing"}`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberUpdate {
    role: MemberRole,
}

/// `{"role":"support|trust_safety"}`.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct StaffUpdate {
    role: StaffRole,
}

/// An agency with its members.
#[utoipa::path(get, path = "/v1/agencies/{agency}", tag = "agencies", params(("agency" = String, Path)),
    responses((status = 200, body = AgencyView), (status = 404)))]
pub(super) async fn get_agency(
    State(service): State<Service>,
    Path(agency): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let reply::NoQuery {} = reply::query(request.uri())?;
    let agency: AgencyId = agency.parse()?;
    let found = service.app().agency(&agency).await?;
    let response = reply::json(StatusCode::OK, &AgencyView::from(&found))?;
    Ok(reply::stamped(response, found.revision, Some(found.revision)))
}

/// Registers an agency or changes it. Suspending it ends its rights on every site with this one commit.
#[utoipa::path(put, path = "/v1/agencies/{agency}", tag = "agencies", params(("agency" = String, Path)), request_body = AgencyUpdate,
    responses((status = 200, body = AgencyView), (status = 201, body = AgencyView), (status = 400)))]
pub(super) async fn put_agency(
    State(service): State<Service>,
    Path(agency): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let agency: AgencyId = agency.parse()?;
    let update: AgencyUpdate = json::read_as(request, service.limits().body).await?;
    let done = service.app().put_agency(agency, update).await?;
    service.app().effective(done.revision, None).await?;
    let response = reply::json(created(done.created), &AgencyView::from(&done.value))?;
    Ok(reply::stamped(response, done.revision, Some(done.value.revision)))
}

/// Puts a person into an agency or changes what they are there.
#[utoipa::path(put, path = "/v1/agencies/{agency}/members/{user}", tag = "agencies",
    params(("agency" = String, Path), ("user" = String, Path)), request_body = MemberUpdate,
    responses((status = 200, body = AgencyView), (status = 201, body = AgencyView), (status = 400), (status = 404), (status = 409)))]
pub(super) async fn put_member(
    State(service): State<Service>,
    Path((agency, user)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (agency, user): (AgencyId, UserId) = (agency.parse()?, user.parse()?);
    let update: MemberUpdate = json::read_as(request, service.limits().body).await?;
    let done = service.app().put_member(agency, user, Some(update.role)).await?;
    service.app().effective(done.revision, None).await?;
    let response = reply::json(created(done.created), &AgencyView::from(&done.value))?;
    Ok(reply::stamped(response, done.revision, Some(done.value.revision)))
}

/// Takes a person out of an agency: all access through it ends, on every site.
#[utoipa::path(delete, path = "/v1/agencies/{agency}/members/{user}", tag = "agencies",
    params(("agency" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = AgencyView), (status = 404), (status = 409, description = "The last admin.")))]
pub(super) async fn delete_member(
    State(service): State<Service>,
    Path((agency, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (agency, user): (AgencyId, UserId) = (agency.parse()?, user.parse()?);
    let done = service.app().put_member(agency, user, None).await?;
    service.app().effective(done.revision, None).await?;
    let response = reply::json(StatusCode::OK, &AgencyView::from(&done.value))?;
    Ok(reply::stamped(response, done.revision, Some(done.value.revision)))
}

/// Registers a member of staff.
#[utoipa::path(put, path = "/v1/staff/{staff}", tag = "agencies", params(("staff" = String, Path)), request_body = StaffUpdate,
    responses((status = 200, body = StaffUpdate), (status = 201, body = StaffUpdate), (status = 400)))]
pub(super) async fn put_staff(
    State(service): State<Service>,
    Path(staff): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let staff: StaffId = staff.parse()?;
    let update: StaffUpdate = json::read_as(request, service.limits().body).await?;
    let done = service.app().put_staff(staff, Some(update.role)).await?;
    service.app().effective(done.revision, None).await?;
    Ok(reply::stamped(reply::json(created(done.created), &update)?, done.revision, None))
}

/// Removes a member of staff.
#[utoipa::path(delete, path = "/v1/staff/{staff}", tag = "agencies", params(("staff" = String, Path)),
    responses((status = 204), (status = 404)))]
pub(super) async fn delete_staff(
    State(service): State<Service>,
    Path(staff): Path<String>,
) -> Result<Response, Problem> {
    let staff: StaffId = staff.parse()?;
    let done = service.app().put_staff(staff, None).await?;
    service.app().effective(done.revision, None).await?;
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(reply::stamped(response, done.revision, None))
}
