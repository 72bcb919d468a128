"""The mutations of tools/mutate: one broken rule each, as text to find (exactly once in its file) and text to put, and the suites that
must notice, quickest first. Invariants are those of docs/protocol.md, workforce rules those of packs/workforce.lua."""
import os
import re

MUTATIONS = []


def mutation(name, rule, file, find, put, *suites):
    MUTATIONS.append({'name': name, 'rule': rule, 'file': file, 'find': find, 'put': put, 'suites': suites})


INVARIANTS, LOST, CRASH, GUARDS = 'coordinator invariants', 'coordinator lost', 'coordinator crash', 'coordinator guards'
RUN, EXECUTE, FINISH, BACK = ('src/coordinator/%s.c' % name for name in ('run', 'execute', 'finish', 'rollback'))
RECOVER, RESTORE = 'src/coordinator/recover.c', 'src/coordinator/restore.c'
LEDGER = 'src/journal/sqlite_bulk.c'
LEASE = 'src/journal/sqlite_lease.c'
MERGE = 'src/model/merge.c'
PACK = 'packs/workforce.lua'

# ---- the invariants of the protocol ----
mutation('give_up_never', 'invariant 2', RECOVER, 'if (result || !bulk.hold_until_ms || aon_now_ms(run->env) < bulk.hold_until_ms)',
         'if (true)', INVARIANTS)
mutation('first_store_stops_all', 'invariant 2', BACK, 'return result == AON_TRANSIENT || result == AON_UNKNOWN ||',
         'return result == AON_END || result == AON_UNKNOWN ||', GUARDS)
mutation('gave_up_unnamed', 'invariant 2', RECOVER, 'result = name_documents(run, why->sentence, error);', 'result = AON_OK;', INVARIANTS)
mutation('changed_create_is_deleted', 'invariant 3', RESTORE,
         'restore->verdict = operation->after.bson && aon_document_equal(&now, &after, &how) ? AON_RESTORE_WRITE : AON_RESTORE_CONFLICT;',
         'restore->verdict = AON_RESTORE_WRITE;', INVARIANTS, 'coordinator table')
mutation('created_and_deleted_is_ours', 'invariant 3', RESTORE, 'operation->after.bson && aon_document_equal(&now, &after, &how) ?',
         '!operation->after.bson || aon_document_equal(&now, &after, &how) ?', 'coordinator table')
mutation('remade_is_overwritten', 'invariant 3', RESTORE, '} else if (!aon_document_equal(&now, &before, &how)) {\n      restore->verdict = AON_RESTORE_CONFLICT;',
         '} else if (!aon_document_equal(&now, &before, &how)) {\n      restore->verdict = AON_RESTORE_DONE;', 'coordinator table', INVARIANTS)
mutation('their_delete_is_undone', 'invariant 3', RESTORE, 'return AON_OK; /* their delete stands */',
         'return restore->verdict = AON_RESTORE_WRITE, restore->target = operation->before, AON_OK;', 'coordinator table', INVARIANTS)
mutation('merge_none_merges', 'invariant 3', RESTORE, 'if (operation->collection->merge_none) {', 'if (false) {', 'coordinator table')
mutation('decision_not_durable', 'invariant 1', 'src/journal/sqlite_lease.c', ' && to != AON_EXECUTING;', ' && to != AON_EXECUTING && to != AON_COMMITTING;', 'journal sqlite')
mutation('left_before_named', 'invariant 3', BACK, '  if (result) /* not left alone before', '  if (result && aon_hashes_add(&g->left, hash_of(operation), NULL) == AON_OK) /* not left alone before', LOST)
mutation('conflict_dropped_early', 'invariant 3', BACK, 'return marked ? AON_OK :', 'return false ? AON_OK :', LOST)
mutation('conflict_of_other_batch_dropped', 'invariant 3', BACK, '  if (found->sequence < g->first || found->sequence > g->last)\n',
         '  if (false)\n', GUARDS)
mutation('void_only_what_arrived', 'late writes', BACK, 'if (voids && restore.verdict == AON_RESTORE_DONE &&',
         'if (false && restore.verdict == AON_RESTORE_DONE &&', LOST)
mutation('never_void', 'late writes', BACK, 'if (voids && restore.target.bson)', 'if (false)', LOST)
mutation('no_horizon', 'late writes', BACK, 'aon_result result = wait_for_horizon(run, g->part, batch, error);', 'aon_result result = AON_OK;\n  (void)wait_for_horizon;',
         LOST, CRASH, 'simulate 3000')
mutation('no_watch', 'late writes', BACK, 'if (result || watch <= 0)', 'if (result || watch)', LOST)
mutation('late_beside_older', 'late writes', BACK, '  if (!aon_hashes_has(&g->doubted_documents, hash) ||', '  if (hash ||', LOST)
mutation('late_from_anywhere', 'late writes', BACK, '  if (g->part->caps->store_class == AON_CLASS_PLAIN || aon_image_same(asked,',
         '  if (asked || aon_image_same(asked,', LOST)
mutation('late_in_part', 'late writes', BACK, 'redone.verdict == AON_RESTORE_WRITE && aon_image_same(', 'redone.verdict != AON_RESTORE_CONFLICT || aon_image_same(', LOST)
mutation('unproved_batch_is_refused', 'invariant 9', EXECUTE,
         '      if (result)\n        return report(run, operations, count, failed, result, &failure, error);\n      if (state', '      if (!result && state', LOST)
mutation('giving_up_names_anew', 'invariant 3', RECOVER, 'if (aon_hashes_has(&named, sequence_hash(operations[i].sequence)))', 'if (false)', 'coordinator asked')
mutation('choice_leaves_prepared', 'invariant 6', 'src/coordinator/commands.c', 'if (result || !any)', 'if (result || any || !any)', 'coordinator asked')
mutation('chain_as_one', 'invariant 3', BACK, 'if (g->part->caps->store_class < AON_CLASS_CONDITIONAL)', 'if (c)', LOST)
mutation('sent_again_without_lease', 'invariant 7', EXECUTE,
         'aon_result result = aon_run_guard(s->run, part, error); /* each may take', 'aon_result result = AON_OK; /* each may take', GUARDS)
mutation('unsent_batch_stays_announced', 'invariant 3', EXECUTE,
         'if (note_failed(s, part, batch, operations, count, unanswered, &ignored))',
         'if (unanswered && note_failed(s, part, batch, operations, count, unanswered, &ignored))', GUARDS)
mutation('refused_second_sending', 'invariant 4', EXECUTE, 'if (result == AON_PERMANENT && doubtful) {', 'if (false) {', INVARIANTS)
mutation('refusal_taken_for_success', 'invariant 9', EXECUTE, '*state = AON_WRITE_REFUSED; /* it is as before, and the refusal stands */',
         'return AON_OK;', GUARDS)
mutation('lost_commit_taken_for_commit', 'invariant 9', EXECUTE,
         '    if (!result && state != AON_BRANCH_COMMITTED)\n      result = aon_fail(&failure, AON_PERMANENT, "commit_lost"',
         '    if (false)\n      result = aon_fail(&failure, AON_PERMANENT, "commit_lost"', GUARDS)
mutation('last_resource_unasked', 'the decision', RECOVER, 'if (!run->parts[i].last_resource)', 'if (true)', GUARDS)
mutation('backwards_after_decision', 'the decision', RECOVER, '    return recover_committing(run, bulk->stores, error);',
         '    return roll_back_lost(run, bulk->stores, error);', CRASH)
mutation('not_there_is_success', 'the decision', FINISH, 'if (state != AON_BRANCH_PREPARED)\n        return commit_again(run, part, error);',
         'if (state != AON_BRANCH_PREPARED)\n        return AON_OK;\n      (void)commit_again;', LOST)
mutation('transition_unchecked', 'states', RUN, 'if (!aon_transition_find(run->state, to))', 'if (false)', GUARDS)
mutation('zombie_may_write_journal', 'invariant 7', LEDGER, 'if (head.epoch != epoch) {', 'if (false) {', 'journal bulk', INVARIANTS)
mutation('living_lease_is_taken', 'invariant 7', LEASE, 'bool leased = bulk->worker.boot_id[0] && bulk->lease_until_ms', 'bool leased = false && bulk->lease_until_ms',
         'journal bulk', 'journal two')
mutation('half_a_file_is_queued', 'the queue', 'src/journal/sqlite_files.c', '|| row.bytes != (int64_t)file->bytes)', '|| row.bytes < 0)', 'journal queue')
mutation('file_in_clear', 'invariant 10', 'src/journal/sqlite_files.c', 'result = aon_keys_seal(ledger->env, ledger->keys, file, chunk, bytes, length, &ledger->sealed, error);',
         'result = aon_buffer_append(&ledger->sealed, bytes, length, error);', 'journal queue')
mutation('upload_swept_too_soon', 'the queue', 'src/journal/sqlite_files.c', "'planning', 'logged')", "'planning')", 'journal queue')
mutation('living_lease_is_taken_from_the_queue', 'invariant 7', 'src/journal/sqlite_queue.c', 'call->found = aon_ledger_claimable(ledger, &bulk, NULL) == AON_OK;',
         'call->found = true;', 'journal queue')
mutation('given_back_at_once', 'the queue', 'src/journal/sqlite_queue.c', 'hold_until_ms <= ?3', '?3 > 0', 'journal queue')
mutation('claim_keeps_epoch', 'invariant 7', LEASE, 'set epoch = epoch + 1, lease_until_ms', 'set epoch = epoch, lease_until_ms', 'journal bulk')
mutation('arrow_from_anywhere', 'states', LEASE, 'if (call->arrow && head.state != call->from)', 'if (false)', 'journal bulk')
mutation('stamps_count', 'model', MERGE, 'if (aon_place_is_stamp(place, m->how) || aon_value_equal_at(current, before,', 'if (aon_value_equal_at(current, before,',
         'model merge')
mutation('ours_stays', 'model', MERGE, '  if (aon_value_equal_at(current, after, place, m->how, depth))\n    return put(out, place->key, before, m->error);',
         '  if (aon_value_equal_at(current, after, place, m->how, depth))\n    return put(out, place->key, current, m->error);', 'model merge')

# ---- the journal ----
LOCKS, CHAIN, LOG = 'src/journal/sqlite_locks.c', 'src/journal/sqlite_chain.c', 'src/journal/sqlite_log.c'
mutation('locked_by_nobody', 'invariant 6', LOCKS, '  if (result || !others)\n    return result;\n  AON_BUFFER_CLEANUP', '  if (true)\n    return result;\n  AON_BUFFER_CLEANUP',
         'journal log', INVARIANTS)
mutation('hash_alone_locks', 'journal locks', LOCKS, '      return AON_OK; /* only the hashes are the same */', '      (void)0;', 'journal sqlite')
mutation('shared_is_exclusive', 'journal locks', LOCKS, 'if ((shared && ours->shared) || !better(search, ours->at))', 'if (!better(search, ours->at))',
         'journal log', 'journal named')
mutation('locks_given_back_never', 'journal locks', LEASE, 'update bulk set holds = 0, cancel_asked = 0', 'update bulk set cancel_asked = 0', 'journal log', INVARIANTS)
mutation('chain_from_the_first', 'journal chain', CHAIN, '      one->query->sequence = operation->sequence;\n      return AON_OK;',
         '      one->query->sequence = operation->sequence;', 'journal sqlite')
mutation('cleared_before_the_end', 'journal clearing', LOG, 'if (!aon_state_terminal(head.state))\n    return aon_fail(error, AON_USAGE, "wrong_state"',
         'if (false)\n    return aon_fail(error, AON_USAGE, "wrong_state"', 'journal log', 'journal bulk')
mutation('images_stay', 'journal clearing', LOG, 'set images = null, images_sum = null where', 'set images_sum = null where', 'journal log')
mutation('submitted_again_with_other_content', 'invariant 8', LEDGER,
         '  if (!strcmp(aon_ledger_text(statement, 1), call->submission->digest))\n    return AON_OK;', '  if (true)\n    return AON_OK;', 'journal bulk', INVARIANTS)

# ---- the invariants about planning and showing ----
mutation('batch_not_announced', 'invariant 1', EXECUTE,
         '    aon_result result = announce(run, part, batch, operations, count, AON_BATCH_ANNOUNCED, false, error);\n    if (!result)\n      result = aon_run_guard',
         '    aon_result result = AON_OK;\n    if (!result)\n      result = aon_run_guard', INVARIANTS)
mutation('line_without_before_image', 'invariant 5', 'src/coordinator/lines.c',
         'if ((line->verb == VERB_UPDATE || line->verb == VERB_REPLACE || line->verb == VERB_DELETE) && !before.bson)', 'if (false)', INVARIANTS)
mutation('sensitive_printed', 'invariant 10', 'src/coordinator/print.c', 'bool hidden = is_sensitive(c->collection, path);', 'bool hidden = false;\n  (void)is_sensitive;',
         INVARIANTS)
mutation('sensitive_in_clear', 'invariant 10', 'src/coordinator/plan.c', '  if (holds_sensitive(operation))\n', '  if (holds_sensitive(operation) && false)\n',
         INVARIANTS)

# ---- documents and stores ----
DIFFERENCE, MEMORY, WRITE = 'src/model/difference.c', 'src/store/memory.c', 'src/store/sqlite_write.c'
mutation('difference_without_new_members', 'model', DIFFERENCE, '    if (!aon_members_find(before, member.key, &other))', '    if (false)', 'model compare')
mutation('difference_of_empty_object', 'model', DIFFERENCE, 'bson_iter_recurse(value, &at) && bson_iter_next(&at);', 'bson_iter_recurse(value, &at);',
         'model compare')
mutation('difference_not_stopped', 'model', DIFFERENCE, 'd->stopped = result == AON_END;', 'd->stopped = false;', 'model compare')
mutation('memory_without_condition', 'store', MEMORY, '  return holds ? AON_OK : refuse(r, false, error);', '  return AON_OK;', 'store conformance')
mutation('memory_create_over_existing', 'store', MEMORY, 'return seen->bytes ? refuse(r, true, error) : AON_OK;', 'return AON_OK;', 'store conformance')
mutation('sqlite_without_condition', 'store', WRITE, '  return changed_meanwhile(store, write, error);\n}', '  (void)changed_meanwhile;\n  return AON_OK;\n}',
         'store conformance', 'store sqlite_columns')

mutation('no_memory_is_no_default', 'faults', 'src/store/sqlite_schema.c', '  return *ret_text;', '  return true;', 'store fails')

# ---- the rules of the workforce pack ----
def rule(name, find, put):
    mutation('workforce_' + name, 'workforce rule', PACK, find, put, 'workforce pack')


rule('days_missing', 'if #(schedule.days or {}) == 0 then', 'if false then')
rule('days_not_allowed', 'if #bad > 0 then', 'if false then')
rule('end_date_missing', 'if schedule.type and schedule.type ~= "once" and not schedule.endDate then', 'if false then')
rule('dates_in_order', 'if first and last and last < first then', 'if false then')
rule('times_in_order', 'if first and last and last <= first then', 'if false then')
rule('times_equal', 'if first and last and last <= first then', 'if first and last and last < first then')
rule('longitude_missing', 'if location.latitude and not location.longitude then', 'if false then')
rule('latitude_missing', 'if location.longitude and not location.latitude then', 'if false then')
rule('reference_of_organization', 'if day.scope == "organization" and (row.filled.reference or row.cleared.reference) then', 'if false then')
rule('reference_missing', 'if (day.scope == "site" or day.scope == "user") and not day.reference then', 'if false then')
rule('skus_cleared', 'elseif row.cleared.skuIDs then', 'elseif false then')
rule('user_disabled', 'disabled = user.status == "inactive"', 'disabled = false')
rule('questions_counted', 'local count = #(it.questions or {})', 'local count = 0')

# Each rule that a column has for itself, as the pack has them. The text to find begins with its sheet, so that it stands once.
OWN_RULES = [
    ('required', r' required = true,', ''),
    ('unique', r' unique = true,', ''),
    ('unique_in', r' unique_in = \{[^{}]*\},', ''),
    ('key', r' key = true,', ''),
    ('words', r'type = "choice", choices = (?:STATUS|\{[^{}]*\})', 'type = "text"'),
    ('type', r'type = "(?:email|phone|language|country|timezone|date|time)"', 'type = "text"'),
    ('type', r'type = "number", min = -?\d+, max = \d+', 'type = "text"'),
    ('min', r' min = -?\d+,', ''),
    ('max', r' max = \d+,', ''),
    ('min_characters', r' min_characters = \d+,', ''),
    ('max_characters', r' max_characters = \d+,', ''),
    ('default', r' default = "\w+",', ''),
    ('create_only', r'\n? *create_only = true,', ''),
    ('sensitive', r' sensitive = true,', ''),
]


def closing(text, start):
    """Behind the brace that closes the one at start."""
    depth = 0
    for at in range(start, len(text)):
        depth += {'{': 1, '}': -1}.get(text[at], 0)
        if not depth:
            return at + 1
    raise ValueError('a brace is not closed')


def rules_of_columns(pack):
    for sheet in re.finditer(r'\bname = "([^"]+)", entity = "(\w+)"', pack):
        columns = pack.index('columns = {', sheet.start()) + len('columns = ')
        end = closing(pack, columns)
        for column in re.finditer(r'\{heading = "([^"]+)"', pack[columns:end]):
            start = columns + column.start()
            text = pack[start:closing(pack, start)]
            name = '%s_%s_' % (sheet[2], column[1].lower().replace(' ', '_'))
            put = lambda changed: pack[sheet.start():start] + changed  # noqa: E731
            for what, pattern, instead in OWN_RULES:
                changed, count = re.subn(pattern, instead, text)
                if count:
                    yield name + what, put(text), put(changed)
            refers = text.find(' references = {')
            if refers >= 0:
                behind = closing(text, text.index('{', refers))
                members = re.search(r'\s*members = \{', text)
                changed = text[:refers] + text[behind + 1:]
                if members:  # they hold what is referred to
                    at = changed.index(members[0])
                    changed = changed[:at] + changed[closing(changed, changed.index('{', at)):].lstrip(',')
                yield name + 'reference', put(text), put(changed)


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', PACK), encoding='utf-8') as file:
    for name, find, put in rules_of_columns(file.read()):
        mutation('column_' + name, 'workforce column', PACK, find, put, 'workforce each rule of a column', 'workforce pack')

# ---- the journal on PostgreSQL: what its statements must say ----
PG = 'src/journal/postgresql_%s.c'
mutation('pg_arrow_without_epoch', 'invariant 7', PG % 'lease', '" where id = $1 and epoch = $2::bigint and state = $11 and logged',
         '" where id = $1 and $2::bigint > 0 and state = $11 and logged', 'postgresql bulk')
mutation('pg_claim_keeps_the_epoch', 'invariant 7', PG % 'lease', 'set epoch = epoch + 1, lease_until_ms', 'set epoch = epoch + 0, lease_until_ms',
         'postgresql bulk')
mutation('pg_end_keeps_locks', 'invariant 6', PG % 'lease', 'finished_ms = aon_journal_now(), holds = false,"', 'finished_ms = aon_journal_now(),"',
         'postgresql log', 'postgresql bulk')
mutation('pg_generation_stays', 'invariant 6', PG % 'lease', 'generation = aon_journal_generations.generation + 1',
         'generation = aon_journal_generations.generation + 0', 'postgresql bulk', 'postgresql log')
mutation('pg_renewed_without_worker', 'invariant 7', PG % 'lease', '" and worker_boot <> \'\' returning lease_until_ms', '" returning lease_until_ms',
         'postgresql bulk')
mutation('pg_shared_locks_exclude', 'invariant 6', PG % 'log', 'b.id <> $1 and not (l.shared and e.shared)"', 'b.id <> $1 and not (l.shared and false)"',
         'postgresql log')
mutation('pg_conflicts_hold_nothing', 'invariant 6', PG % 'log', 'and not c.watched and b.id <> $1"', 'and false and b.id <> $1"', 'postgresql log',
         'postgresql bulk')
mutation('pg_expired_names_hold', 'invariant 6', PG % 'log', 'n.hash = e.hash and n.lease_until_ms > aon_journal_now()"', 'n.hash = e.hash"',
         'postgresql named')
mutation('pg_gaps_in_the_log', 'invariant 1', PG % 'log', '" and state in (\'queued\', \'parsing\', \'validating\', \'planning\') and logged = $3',
         '" and state in (\'queued\', \'parsing\', \'validating\', \'planning\') and logged <= $3', 'postgresql log')

# ---- what only a seed of the simulator had shown at first ----
mutation('stale_plan_is_read', 'reads', 'src/coordinator/read.c', '(!held->operation.before.bson || is_planned(held->bulk.state))',
         '!held->operation.before.bson', 'coordinator together')
mutation('given_up_stays_named', 'invariant 2', BACK, 'return found->watched || strcmp(found->code, AON_GAVE_UP)', 'return run',
         'coordinator asked')
mutation('claim_read_late', 'invariant 7', LEASE, '  if (!result)\n    *ret_bulk = call.bulk;\n  return result;',
         '  return result ? result : aon_ledger_bulk(state, id, arena, ret_bulk, error);', 'journal sqlite')
mutation('submission_read_late', 'invariant 7', LEDGER, '  *ret_bulk = call.bulk;\n  *ret_existed = call.existed;\n  return AON_OK;',
         '  *ret_existed = call.existed;\n  return aon_ledger_bulk(ledger, call.id, arena, ret_bulk, error);', 'journal sqlite')
mutation('log_of_the_first_batches', 'bounded', 'src/coordinator/print.c', '  if (p->until >= first)\n    p->until = first - 1;',
         '  (void)p;\n  (void)first;', 'coordinator commands')

# ---- what only the simulator notices: the seed that finds it is printed ----
def planted(name, rule, file, find, put):
    mutation('planted_' + name, rule, file, find, put, 'simulate 20000')


planted('announce_not_durable', 'invariant 1', 'src/journal/sqlite_progress.c',
        'batch->status == AON_BATCH_ANNOUNCED || batch->unanswered || batch->durable', 'batch->durable')
planted('locks_before_decision', 'invariant 6', LEASE, '  if (!result && ends)\n    result = aon_ledger_run(ledger, "update bulk set holds = 0',
        '  if (!result && (ends || call->to == AON_PREPARING))\n    result = aon_ledger_run(ledger, "update bulk set holds = 0')
planted('unsynced_journal', 'invariant 1', 'src/journal/sqlite_base.c', 'durable ? "pragma synchronous=full" :', 'durable ? "pragma synchronous=normal" :')
planted('before_image', 'invariant 3', RESTORE,
        'restore->verdict = operation->after.bson && aon_document_equal(&now, &after, &how) ? AON_RESTORE_WRITE : AON_RESTORE_CONFLICT;\n    return AON_OK;\n  case AON_UPDATE:',
        'restore->verdict = AON_RESTORE_WRITE;\n    return AON_OK;\n  case AON_UPDATE:')
planted('forget_abort_marker', 'invariant 7', MEMORY, '    m->state = MARKER_ABORTED;\n    m->at_ms = held->now_ms;\n    *ret_state = AON_BRANCH_ABORTED;',
        '    m->at_ms = held->now_ms;\n    *ret_state = AON_BRANCH_ABORTED;')
planted('merge_ignored', 'invariant 3', RESTORE, '  return merge(before, after, current, loose, arena, restore, error);',
        '  (void)merge;\n  (void)arena;\n  (void)error;\n  restore->verdict = AON_RESTORE_WRITE;\n  restore->target = operation->before;\n  return AON_OK;')
planted('lost_batch_is_success', 'invariant 9', EXECUTE, 'if (state != AON_BRANCH_COMMITTED)\n        result = aon_fail(&failure, AON_TRANSIENT, "lost_reply"',
        'if (state == AON_BRANCH_OPEN)\n        result = aon_fail(&failure, AON_TRANSIENT, "lost_reply"')
planted('late_prepare', 'invariant 2', BACK, '    if (result || *ret_state != AON_BRANCH_PREPARED)\n      return result;', '    return result;')
planted('their_delete_undone', 'invariant 3', RESTORE, 'return AON_OK; /* their delete stands */',
        'return restore->verdict = AON_RESTORE_WRITE, restore->target = operation->before, AON_OK;')
planted('lost_reply_is_success', 'invariant 9', EXECUTE, 'if (!result && state != AON_BRANCH_COMMITTED)\n      result = aon_fail(&failure, AON_PERMANENT, "commit_lost"',
        'if (!result && state == AON_BRANCH_OPEN)\n      result = aon_fail(&failure, AON_PERMANENT, "commit_lost"')
planted('decide_without_epoch', 'invariant 7', LEASE,
        'aon_ledger_fence(ledger, call->id, call->epoch, &head, error);\n  if (result)\n    return result;\n  if (call->arrow && head.state == call->to)',
        'aon_ledger_head_of(ledger, call->id, &head, error);\n  if (result)\n    return result;\n  if (call->arrow && head.state == call->to)')
planted('stale_plan', 'invariant 6', 'src/coordinator/plan.c', '    if (before[i] != now[i])\n      *ret_current = false;', '    (void)before;')
planted('own_late_commit', 'invariant 3', BACK, 'if (refused_for_good(result) && is_foreign(&failure) && ++g->refusals < AON_RESTORE_TRIES)',
        'if (!g->run && is_foreign(&failure))')
