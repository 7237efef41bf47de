//! Accounts that their holders want to close (T28). Most accounts are never heard of here: a person is registered nowhere,
//! and an account is open until somebody says otherwise.
//!
//! Nothing is taken from anybody by closing: while a site's content or its plan is the account's, it stays, and the answer
//! lists what would have to be given back, handed over or deleted first.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Decided, Registered, event};
use crate::{
    app::{App, Failure, Kind},
    ids::{Account, SiteId},
    store::{AccountStatus, Changes, Loaded, Store, Verdict, Wanted},
};

/// `PUT /v1/accounts/{account}`.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountUpdate {
    /// What becomes of it.
    pub status: AccountState,
}

/// What an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// As every account begins.
    Open,
    /// Its holder wants to leave: nothing is offered to it or by it.
    Closing,
    /// It is gone; it owns nothing.
    Closed,
}

/// An account, and what keeps it from being closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AccountView {
    /// The account.
    #[schema(value_type = String)]
    pub account: Account,
    /// What it is.
    pub status: AccountState,
    /// Sites whose content or plan is its own: at most a hundred of them.
    #[schema(value_type = Vec<String>)]
    pub sites: Vec<SiteId>,
}

impl AccountView {
    fn of(account: &Account, loaded: &Loaded) -> Self {
        let status = match loaded.accounts.get(account) {
            None => AccountState::Open,
            Some(AccountStatus::Closing) => AccountState::Closing,
            Some(AccountStatus::Closed) => AccountState::Closed,
        };
        Self { account: account.clone(), status, sites: loaded.holdings.clone() }
    }
}

impl App {
    /// An account.
    ///
    /// # Errors
    /// `503` when the store cannot be read.
    pub async fn account(&self, account: Account) -> Result<AccountView, Failure> {
        let wanted = Wanted { accounts: vec![account.clone()], holdings: true, ..Wanted::default() };
        let read = move |loaded: &Loaded| Verdict::Leave(AccountView::of(&account, loaded));
        Ok(self.store.change(wanted, Box::new(read)).await?)
    }

    /// Says what becomes of an account.
    ///
    /// # Errors
    /// `409 owns_sites` when an account with sites should be closed; `409 account_closed` for one that is gone.
    pub async fn put_account(
        &self,
        account: Account,
        update: AccountUpdate,
    ) -> Result<Registered<AccountView>, Failure> {
        let wanted = Wanted { accounts: vec![account.clone()], holdings: true, ..Wanted::default() };
        let clock = std::sync::Arc::clone(&self.clock);
        let decide = move |loaded: &Loaded| -> Decided<AccountView> {
            let mut view = AccountView::of(&account, loaded);
            let answer = |view, revision| Ok(Registered { created: false, revision, value: view });
            if view.status == update.status {
                return Verdict::Leave(answer(view, loaded.head.revision));
            }
            if view.status == AccountState::Closed {
                let detail = format!("`{account}` is closed for good.");
                return Verdict::Leave(Err(Failure::new(Kind::Conflict, "account_closed", detail)));
            }
            if update.status == AccountState::Closed && !view.sites.is_empty() {
                return Verdict::Leave(Err(owns(&view)));
            }
            let (kind, status) = match update.status {
                AccountState::Open => ("AccountReopened", None),
                AccountState::Closing => ("AccountClosing", Some(AccountStatus::Closing)),
                AccountState::Closed => ("AccountClosed", Some(AccountStatus::Closed)),
            };
            view.status = update.status;
            let changes = Changes {
                accounts: vec![(account.clone(), status)],
                events: vec![event(None, kind, json!({ "account": account }))],
                at: clock.now().max(loaded.head.at),
                ..Changes::default()
            };
            Verdict::Commit(Box::new(changes), answer(view, loaded.head.revision.next()))
        };
        self.store.change(wanted, Box::new(decide)).await?
    }
}

fn owns(view: &AccountView) -> Failure {
    let detail = format!(
        "`{}` cannot be closed while sites are its own or paid by it ({} listed in `sites`). Take them back \
         (reclaim_site), give them back (release_site, resign_as_partner), hand them over (transfer_ownership, \
         replace_partner) or delete them (trash_site, purge_site) first.",
        view.account,
        view.sites.len()
    );
    Failure::new(Kind::Conflict, "owns_sites", detail).with("sites", json!(view.sites))
}
