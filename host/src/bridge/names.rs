//! Which topic there is which topic here.

use mqtt_protocol_core::mqtt::packet::{Properties, Property, ResponseTopic};
use weir_contract::topic::{Pattern, is_reserved};

use crate::config::MqttBridge;

/// Topics of both sides: a start of each side's own, and a name that both share.
pub(super) struct Names {
    base: String,
    prefix: String,
    /// What comes in, as the broker calls it.
    there: Vec<Pattern>,
    /// What goes out, as it is called here.
    here: Vec<Pattern>,
}

impl Names {
    /// Of a configuration that was checked.
    pub(super) fn new(bridge: &MqttBridge) -> Self {
        let (base, prefix) = (bridge.base(), bridge.prefix());
        let all = |start: &str, names: &[String]| {
            names.iter().filter_map(|name| Pattern::parse(&format!("{start}{name}")).ok()).collect()
        };
        let (there, here) = (all(&base, &bridge.incoming), all(&prefix, &bridge.outgoing));
        Self { base, prefix, there, here }
    }

    /// What the broker is asked for.
    pub(super) fn filters(&self) -> Vec<String> {
        self.there.iter().map(Pattern::to_string).collect()
    }

    /// What comes in, as it is called here.
    pub(super) fn arriving(&self) -> Vec<String> {
        let name = |pattern: &Pattern| pattern.as_str().strip_prefix(&*self.base).map(str::to_owned);
        self.there.iter().filter_map(name).map(|name| format!("{}{name}", self.prefix)).collect()
    }

    /// What goes out, as it is called here.
    pub(super) fn leaving(&self) -> &[Pattern] {
        &self.here
    }

    /// The topic here of a message of the broker; none: it was not asked for.
    pub(super) fn arrival(&self, there: &str) -> Option<String> {
        self.there.iter().any(|pattern| pattern.matches(there)).then(|| self.local(there)).flatten()
    }

    /// Whether messages of this topic, as it is called there, come in.
    pub(super) fn comes_in(&self, there: &str) -> bool {
        self.there.iter().any(|pattern| pattern.matches(there))
    }

    /// What a topic there is called here; none: nothing.
    pub(super) fn local(&self, there: &str) -> Option<String> {
        let name = there.strip_prefix(&*self.base)?;
        let here = format!("{}{name}", self.prefix);
        (!here.is_empty() && !is_reserved(&here)).then_some(here)
    }

    /// What a topic here is called there; none: nothing.
    pub(super) fn remote(&self, here: &str) -> Option<String> {
        let name = here.strip_prefix(&*self.prefix)?;
        let there = format!("{}{name}", self.base);
        (!there.is_empty() && !is_reserved(&there)).then_some(there)
    }

    /// Of a message that goes out: where a reply is wanted is called otherwise there, or cannot be reached.
    pub(super) fn translated(&self, props: Properties) -> Properties {
        let translate = |property| match property {
            Property::ResponseTopic(topic) => {
                Some(ResponseTopic::new(self.remote(topic.val())?).ok()?.into())
            }
            other => Some(other),
        };
        props.into_iter().filter_map(translate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(base: &str, prefix: &str, incoming: &[&str], outgoing: &[&str]) -> Names {
        let all = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Names::new(&MqttBridge {
            base_topic: base.into(),
            local_prefix: prefix.into(),
            incoming: all(incoming),
            outgoing: all(outgoing),
            ..MqttBridge::default()
        })
    }

    #[test]
    fn a_topic_changes_its_start_and_keeps_its_name() {
        let names = names("plant/7", "far/", &["measurements/+", "logs/#"], &["configurations/#"]);
        assert_eq!(names.filters(), ["plant/7/measurements/+", "plant/7/logs/#"]);
        assert_eq!(names.arriving(), ["far/measurements/+", "far/logs/#"]);
        assert_eq!(names.leaving()[0].as_str(), "far/configurations/#");
        assert_eq!(names.arrival("plant/7/measurements/a").as_deref(), Some("far/measurements/a"));
        for other in ["plant/7/measurements/a/b", "plant/7/x", "plant/70/logs/a", "measurements/a"] {
            assert_eq!(names.arrival(other), None, "{other}");
        }
        assert_eq!(names.remote("far/x//y").as_deref(), Some("plant/7/x//y"));
        assert_eq!(names.remote("near/x"), None);
    }

    #[test]
    fn without_starts_topics_are_the_same_but_for_those_of_the_broker_itself() {
        let names = names("", "", &["#"], &["#"]);
        assert_eq!(names.arrival("/a//").as_deref(), Some("/a//"));
        assert_eq!(names.remote("a").as_deref(), Some("a"));
        assert_eq!(names.arrival("$SYS/broker/uptime"), None);
        assert_eq!(names.local("$SYS/a"), None);
        assert_eq!(names.remote("$inbox/a"), None);
    }
}
