//! Where a pass notes its steps.

use std::sync::Arc;
use std::time::Instant;

use super::{Recorder, Seen, Step, Told, microseconds};
use crate::message::Message;
use crate::metrics::End;
use crate::pipeline::Pass;
use crate::pipeline::stages::{Counted, Stage};
use crate::pipeline::stop::shortened;
use crate::plugin::contract::Permission;
use crate::plugin::{CallError, Closed, Instance, Policy};

impl Pass<'_> {
    /// Calls a stage with a message, and notes how that ended if somebody wants to know.
    pub(in crate::pipeline) fn call<T: Told>(
        &self,
        stage: &mut Stage,
        message: &Message,
        call: impl FnMut(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let answer = match self.recorder {
            None => stage.call(&self.clock, || message.tenant(), call),
            Some(recorder) => self.recorded(recorder, stage, message, call),
        };
        if !stage.shadows.is_empty() {
            stage.show(message, &answer);
        }
        answer
    }

    fn recorded<T: Told>(
        &self,
        recorder: &Recorder,
        stage: &mut Stage,
        message: &Message,
        mut call: impl FnMut(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let (began, mut tries) = (self.begin(), 0);
        let tenant = || message.tenant();
        let answer = stage.call(&self.clock, tenant, |instance| {
            tries += 1;
            call(instance)
        });
        let policy = answer.is_err().then_some(stage.binding.policy);
        let keeps = answer.as_ref().map_or(policy == Some(Policy::Pass), Told::keeps);
        let input = recorder.seen(&message.topic, &message.payload);
        let step = self.step(stage.binding.kind().as_str(), stage, input, &answer, began);
        let step = Step { policy: policy.map(|policy| policy.as_str().into()), tries, ..step };
        recorder.note(step, keeps.then_some(message));
        answer
    }

    /// Where the next step's time begins. Only who records looks at the clock.
    pub(in crate::pipeline) fn begin(&self) -> Instant {
        if self.recorder.is_some() {
            self.clock.set(Instant::now());
        }
        self.clock.get()
    }

    /// A transform's messages are known.
    pub(in crate::pipeline) fn left<'m>(&self, messages: impl Iterator<Item = &'m Message>) {
        if let Some(recorder) = self.recorder {
            recorder.left(messages);
        }
    }

    /// An auth plugin was asked.
    pub(in crate::pipeline) fn asked(
        &self,
        at: &'static str,
        topic: &str,
        stage: &Stage,
        answer: &Result<Permission, CallError>,
        began: Instant,
    ) {
        if let Some(recorder) = self.recorder {
            recorder.note(self.step(at, stage, Seen::topic(topic), answer, began), None);
        }
    }

    /// Nobody was asked: `who` had answered before, or the deployer had.
    pub(in crate::pipeline) fn known(
        &self,
        at: &'static str,
        topic: &str,
        who: &Arc<str>,
        allowed: bool,
        why: &'static str,
    ) {
        if let Some(recorder) = self.recorder {
            let end = if allowed { End::Allow } else { End::Deny };
            let step = Step::new(at, Arc::clone(who), end.as_str(), Seen::topic(topic));
            recorder.note(Step { reason: why.into(), ..step }, None);
        }
    }

    /// A plugin that the message should have met is not there.
    pub(in crate::pipeline) fn missing(&self, message: &Message, closed: &Closed, why: &CallError) {
        if let Some(recorder) = self.recorder {
            let input = recorder.seen(&message.topic, &message.payload);
            let step = Step::new(closed.kind.as_str(), Arc::clone(&closed.name), "missing", input);
            let policy = Some(closed.policy.as_str().into());
            let output = (closed.policy == Policy::Pass).then_some(message);
            recorder.note(Step { reason: why.to_string(), policy, ..step }, output);
        }
    }

    fn step<T: Told>(
        &self,
        at: &'static str,
        stage: &Stage,
        input: Seen,
        answer: &Result<T, CallError>,
        began: Instant,
    ) -> Step {
        let verdict = answer.as_ref().map_or_else(End::from, Counted::end).as_str();
        Step {
            version: Some(Arc::clone(&stage.binding.shared.version)),
            reason: answer.as_ref().map_or_else(|error| shortened(&error.to_string()), Told::reason),
            us: Some(microseconds(self.clock.get().duration_since(began))),
            ..Step::new(at, Arc::clone(stage.name()), verdict, input)
        }
    }
}
