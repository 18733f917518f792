//! Whom an instance serves, for bindings whose instances do not serve everybody.

use std::collections::VecDeque;

use crate::plugin::binding::Isolation;
use crate::plugin::{CallError, Instance};

/// Tenants whose instances a shard keeps of one binding. Of more, the one that has been idle for longest goes, and
/// its tenant gets a fresh one next time.
pub const TENANTS: usize = 16;

/// The instances of a binding that is not shared, but for the one that served last: that is the stage's own, and
/// holds what the pass has read and written.
pub struct Isolated {
    per_tenant: bool,
    /// Whom the stage's own has served.
    last: Served,
    /// Those of other tenants, the latest first.
    idle: VecDeque<(String, Instance)>,
}

enum Served {
    Nobody,
    Tenant(String),
    /// A message, or somebody whose tenant is not known yet.
    One,
}

impl Isolated {
    /// None: one instance serves everybody.
    pub fn new(isolation: Isolation) -> Option<Box<Self>> {
        let per_tenant = match isolation {
            Isolation::Shared => return None,
            Isolation::PerTenant => true,
            Isolation::PerMessage => false,
        };
        Some(Box::new(Self { per_tenant, last: Served::Nobody, idle: VecDeque::new() }))
    }

    /// Makes `own` an instance that may serve this tenant; none = it is not known, so a fresh one. What the pass has
    /// read and written so far goes along. Err: none can be made, and `own` is as it was.
    pub fn turn_to(
        &mut self,
        tenant: Option<&str>,
        own: &mut Option<Instance>,
        fresh: impl FnOnce() -> Result<Instance, CallError>,
    ) -> Result<(), CallError> {
        let tenant = tenant.filter(|_| self.per_tenant);
        match (&self.last, tenant) {
            (Served::Tenant(last), Some(tenant)) if last == tenant => return Ok(()),
            (Served::Nobody, _) => {}
            _ => {
                let known = self.idle.iter().position(|(of, _)| Some(of.as_str()) == tenant);
                let mut next = match known.and_then(|at| self.idle.remove(at)) {
                    Some((_, instance)) => instance,
                    None => fresh()?,
                };
                if let Some(mut before) = own.take() {
                    next.guest().transaction = std::mem::take(&mut before.guest().transaction);
                    self.put_away(before);
                }
                *own = Some(next);
            }
        }
        self.last = tenant.map_or(Served::One, |tenant| Served::Tenant(tenant.to_owned()));
        Ok(())
    }

    fn put_away(&mut self, instance: Instance) {
        if let Served::Tenant(tenant) = std::mem::replace(&mut self.last, Served::Nobody)
            && !instance.is_dead()
        {
            self.idle.push_front((tenant, instance));
            // Together with the stage's own.
            self.idle.truncate(TENANTS - 1);
        }
    }
}
