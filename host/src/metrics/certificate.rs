//! Certificates of listeners that speak TLS.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

use super::gateway::Labels;

/// What one listener counts.
#[derive(Clone, Debug, Default)]
pub struct CertificateMetrics {
    /// New certificates that were taken into use.
    pub renewed: Counter,
    /// 1 while the files hold what cannot be used, and an older certificate is shown.
    pub refused: Gauge,
}

/// The families that have a listener for a label.
#[derive(Debug, Default)]
pub(super) struct Families {
    renewed: Family<Labels<1>, Counter>,
    refused: Family<Labels<1>, Gauge>,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        let renewed = "New certificates that were taken into use";
        registry.register("certificate_renewals", renewed, new.renewed.clone());
        let refused = "1 while a new certificate cannot be used and the old one stays";
        registry.register("certificate_refused", refused, new.refused.clone());
        new
    }

    pub(super) fn listener(&self, name: &'static str) -> CertificateMetrics {
        let label = [("listener", name)];
        CertificateMetrics {
            renewed: self.renewed.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
        }
    }
}
