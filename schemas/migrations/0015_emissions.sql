-- A process puts only those kinds of message into a mailbox that are its own to emit: whoever became the gateway has no notice
-- mailed again, and no process sets another one's timers.
--
-- Gives          outbox.guard_stage(), outbox.let_emit(), a policy for each emitter of each mailbox and of each timer
-- Locks          the mailboxes and timers, for an instant
-- Old processes  may run: what they emit is let in

CREATE FUNCTION outbox.let_emit(kind_of_process text, stage text, kinds text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE POLICY %I ON outbox.%I FOR INSERT TO %I WITH CHECK (kind = ANY (%L::text[]))',
                   kind_of_process, stage, 'qerds_' || kind_of_process, kinds);
END $$;
-- For a stage: what it receives it may put back, and so may the operator. Reading, locking and removing are decided by
-- privileges alone: a policy that is always true costs a statement nothing.
CREATE FUNCTION outbox.guard_stage(stage text, kinds text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE outbox.%I ENABLE ROW LEVEL SECURITY', stage);
    EXECUTE format('CREATE POLICY see_message ON outbox.%I FOR SELECT USING (true)', stage);
    EXECUTE format('CREATE POLICY lock_message ON outbox.%I FOR UPDATE USING (true)', stage);
    EXECUTE format('CREATE POLICY take_message ON outbox.%I FOR DELETE USING (true)', stage);
    PERFORM outbox.let_emit(stage, stage, kinds);
    PERFORM outbox.let_emit('operate', stage, kinds);
END $$;
REVOKE ALL ON FUNCTION outbox.let_emit(text, text, text[]), outbox.guard_stage(text, text[]) FROM PUBLIC;

SELECT outbox.guard_stage('ingest',    '{submitted,draw,settle}'),
       outbox.guard_stage('encrypt',   '{checked}'),
       outbox.guard_stage('seal',      '{draft}'),
       outbox.guard_stage('timestamp', '{sealed}'),
       outbox.guard_stage('notify',    '{prepare,send,ask_consent,mail_consent}'),
       outbox.guard_stage('expire',    '{expire,access_end}'),
       outbox.guard_stage('archive',   '{preserve,batch_proof,export}'),
       outbox.guard_stage('webhook',   '{push,ping}');
SELECT outbox.let_emit('gateway', 'ingest', '{submitted,draw}'),
       outbox.let_emit('gateway', 'seal', '{draft}'),
       outbox.let_emit('gateway', 'notify', '{ask_consent}'),
       outbox.let_emit('gateway', 'archive', '{preserve,batch_proof,export}'),
       outbox.let_emit('gateway', 'webhook', '{ping}'),
       outbox.let_emit('ingest', 'encrypt', '{checked}'),
       outbox.let_emit('ingest', 'seal', '{draft}'),
       outbox.let_emit('encrypt', 'seal', '{draft}'),
       outbox.let_emit('notify', 'seal', '{draft}'),
       outbox.let_emit('expire', 'seal', '{draft}'),
       outbox.let_emit('seal', 'timestamp', '{sealed}'),
       outbox.let_emit('timestamp', 'notify', '{prepare}'),
       outbox.let_emit('timestamp', 'archive', '{preserve}'),
       outbox.let_emit('events', 'webhook', '{push}');

-- A retry is a stage's own; deadlines of the law are set by who proves what they follow from.
DROP POLICY add_timer ON outbox.timer;
DROP POLICY add_timer ON outbox.legal_timer;
CREATE POLICY add_timer ON outbox.timer FOR INSERT WITH CHECK (current_user = 'qerds_' || stage);
CREATE POLICY expire ON outbox.legal_timer FOR INSERT TO qerds_expire WITH CHECK (stage = 'expire');
CREATE POLICY timestamp ON outbox.legal_timer FOR INSERT TO qerds_timestamp WITH CHECK (stage = 'expire');
