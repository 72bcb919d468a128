/* The commit, recovery and fencing protocol of docs/protocol.md, in a world small enough to be searched wholly.
 *
 * Two stores of classes C0 <= C1 with one document each; the worker W1 that drives a bulk operation; the worker W2 that takes it over (W1 is
 * dead, or its lease ran out and it goes on as a zombie); one crash of either at any step (W2 then starts anew); one foreign write; lost
 * replies; requests of class 4 and 5 that arrive late; a reader.
 *
 *   -DC0=1 -DC1=4      the classes; C1=6: class 4 whose writes can't be taken back, so that they wait for the decision
 *   -DK0=1 -DK1=2      what is done to the documents: 0 update, 1 create, 2 delete
 *   -DLATE             late requests outlive the horizon, though not the watch (else they don't outlive the horizon)
 *   -DVOID             void_stamp is set; documents are not watched
 *   -DCALM             nobody else writes
 *   -DREHEARSE         transactions are rehearsed, and applied again for PREPARE and commit
 *   -DREADER           somebody reads both documents as `committed`
 *   -DPERSON           a person may say ROLLBACK PREPARED in class 1
 *   -DNO_…             takes one guard away: each such run must find a counterexample (model/check)
 *
 * Invariants of the model: every step that another process can fall into is a statement of its own; what a store or the journal does
 * atomically is one d_step or atomic. Searched for are states: a broken assertion, or nobody who can go on before the end. That a run goes
 * on for ever (a cycle) is not searched for. */

#ifndef C0
#define C0 2
#endif
#ifndef C1
#define C1 4
#endif
#ifndef K0
#define K0 0
#endif
#ifndef K1
#define K1 0
#endif

#define CLASS(s) ((s) == 0 -> C0 : C1)
#define KIND(s) ((s) == 0 -> K0 : K1)
#define WAITS(s) (CLASS(s) == 6) /* for the decision */
#define SINGLE(s) (CLASS(s) >= 4)
#define TRANSACTIONAL(s) (CLASS(s) <= 2)
#if C1 == 2
#define LAST 1 /* the last resource */
#define HAS_LAST 1
#elif C0 == 2
#define LAST 0
#define HAS_LAST 1
#else
#define LAST 0
#define HAS_LAST 0
#endif

/* ---- documents: `mine` is the property that the bulk operation writes, `theirs` another one ---- */
#define OLD 0
#define NEW 1
#define FOREIGN 2
#define ABSENT 3
#define BEFORE(s) (KIND(s) == 1 -> ABSENT : OLD)
#define AFTER(s) (KIND(s) == 2 -> ABSENT : NEW)
#define NO_STAMP 0
#define STAMP 1
#define VOID_STAMP 2

/* ---- states of the bulk operation ---- */
#define PLANNING 0
#define LOGGED 1
#define EXECUTING 2
#define PREPARING 3
#define COMMITTING 4
#define ROLLING_BACK 5
#define COMMITTED 6
#define ROLLED_BACK 7
#define ROLLBACK_FAILED 8
#define COMMIT_FAILED 9
#define TERMINAL(x) ((x) >= COMMITTED)

/* ---- markers, transactions, batches ---- */
#define NONE 0
#define COMMIT 1
#define ABORT 2
#define UNDONE 3
#define PREPARED 4 /* only as an answer */

#define W1 1
#define W2 2
#define ORPHAN 3   /* its client knows nothing of it any more; the server ends it somehow */
#define IN_DOUBT 4 /* prepared */

#define ANNOUNCED 1
#define APPLIED 2
#define REFUSED 3
#define TAKEN_BACK 4

#define OK 1
#define UNKNOWN 2
#define REFUSAL 3

/* the stores */
byte mine[2], stamp[2], marker[2], again[2]; /* again: markers of what is applied anew after a lost PREPARE */
bit theirs[2];
byte transaction[2];
byte target[2];      /* what it makes of the document */
bit flying[2];       /* a request of class 4 or 5 that was not answered is still on its way */

/* the journal */
byte state = PLANNING, epoch = 1, generation;
byte batch[2];
bit unanswered[2], conflict[2], watched[2];

/* what only the assertions know */
bit inside[2];       /* our change is in this store */
bit decided;         /* the decision is durable */
bit settled[2];      /* the second worker knows what became of the store's transaction */
byte foreign_kind;   /* 0: nobody wrote yet */
bit foreign_at;
bit muddled;         /* a reply was lost or a worker died: then doubt is excused */

/* the scheduler */
bit dead[3], done[3];

#define MINE_LOST(s) (foreign_kind == 2 && mine[s] != FOREIGN)
#define THEIRS_LOST(s) (foreign_kind == 1 && !theirs[s])
#define SAME_LOST(s) (foreign_kind == 3 && mine[s] != AFTER(s))
#define DELETE_LOST(s) (foreign_kind == 4 && mine[s] != ABSENT)

/* Nothing of ours is there: their delete took it out, or we did. */
#define OUT(s) (!inside[s] || (foreign_kind == 4 && foreign_at == s))

#ifdef LATE
#define OUT_SO_FAR(s) (OUT(s) || watched[s]) /* what is watched may come and go again; a read doesn't show it */
#else
#define OUT_SO_FAR(s) OUT(s)
#endif

/* Invariant 3. */
inline nothing_lost(s) {
  assert(!(foreign_at == s && (MINE_LOST(s) || THEIRS_LOST(s) || SAME_LOST(s) || DELETE_LOST(s))))
}

inline put(s, what, keep, mark, is_in) {
  mine[s] = what;
  theirs[s] = (what == ABSENT -> 0 : keep);
  stamp[s] = (what == ABSENT -> NO_STAMP : mark);
  inside[s] = is_in;
  nothing_lost(s)
}

/* ---- the journal ---- */

#define DECIDES(to) (to == COMMITTING)

/* What a state promises, asserted when it is said. */
inline enter(to) {
  state = to;
#ifdef READER
  generation = (to == EXECUTING || TERMINAL(to) -> generation + 1 : generation);
#endif
  if
  :: to == COMMITTING ->
    assert(!HAS_LAST || decided); /* the journal copies the decision, it does not make it */
    decided = 1
  :: to == ROLLING_BACK || to == ROLLED_BACK || to == ROLLBACK_FAILED -> assert(!decided) /* the decision is unique */
  :: to == COMMITTED -> assert(decided && inside[0] && inside[1])
  :: to == COMMIT_FAILED -> assert(decided && (inside[0] || conflict[0]) && (inside[1] || conflict[1]))
  :: else -> skip
  fi;
  if
  :: to == ROLLED_BACK -> assert(OUT_SO_FAR(0) && OUT_SO_FAR(1))
  :: to == ROLLBACK_FAILED ->
    assert((OUT_SO_FAR(0) || conflict[0]) && (OUT_SO_FAR(1) || conflict[1]) && (conflict[0] || conflict[1]));
    assert(muddled || ((!conflict[0] || inside[0]) && (!conflict[1] || inside[1]))) /* nobody is asked for nothing */
  :: else -> skip
  fi;
  if
  :: TERMINAL(to) -> assert(transaction[0] == NONE && transaction[1] == NONE) /* no lock is left */
  :: else -> skip
  fi
}

#ifdef NO_EPOCH
#define HOLDS_LEASE true
#else
#define HOLDS_LEASE (epoch == my_epoch)
#endif

/* One arrow: conditional on state and epoch. */
inline move(to) {
  d_step {
    if
    :: HOLDS_LEASE && state == at ->
      assert(!DECIDES(to) || epoch == my_epoch); /* invariant 7: who lost the lease can't decide */
      enter(to);
      at = to
    :: else -> stop = 1
    fi
  }
}

inline note_batch(s, status, doubt) {
  d_step {
    if
    :: HOLDS_LEASE -> batch[s] = status; unanswered[s] = doubt
    :: else -> stop = 1
    fi
  }
}

inline note_conflict(s, is) {
  d_step {
    if
    :: HOLDS_LEASE -> conflict[s] = is
    :: else -> stop = 1
    fi
  }
}

/* ---- stores with transactions ---- */

#define UNTOUCHED(s) (mine[s] == BEFORE(s) && !theirs[s] && stamp[s] != VOID_STAMP)

#ifdef NO_MARKER_REFUSES
#define MAY_BEGIN(s) true
#else
#define MAY_BEGIN(s) (marker[s] == NONE)
#endif

/* begin, marker first, and apply: from here on the document is locked. */
inline begin(s) {
  atomic {
    transaction[s] == NONE;
    if
    :: !MAY_BEGIN(s) -> stop = 1
    :: MAY_BEGIN(s) && UNTOUCHED(s) -> transaction[s] = me
    :: MAY_BEGIN(s) && !UNTOUCHED(s) -> fail = 1
    fi
  }
}

inline commit_effect(s) {
  assert(!(settled[s] && me == W1)); /* invariant 7: a zombie changes nothing that was settled without it */
  assert(!TERMINAL(state));
  put(s, AFTER(s), 0, NO_STAMP, 1);
  marker[s] = COMMIT;
  transaction[s] = NONE;
  if
  :: HAS_LAST && s == LAST -> decided = 1; assert(state == PREPARING)
  :: else -> skip
  fi
}

/* The connection is asked to commit. */
inline commit(s) {
  atomic {
    asked[s] = 1;
    if
    :: commit_effect(s); reply = OK
    :: transaction[s] = NONE; reply = REFUSAL
    :: commit_effect(s); reply = UNKNOWN; muddled = 1
    :: transaction[s] = NONE; reply = UNKNOWN; muddled = 1
    :: transaction[s] = ORPHAN; reply = UNKNOWN; muddled = 1
    fi
  }
}

/* To resolve is to try to write the abort marker; what is there afterwards is the truth. Waits while a transaction is open. */
inline resolve(s) {
  atomic {
#ifndef NO_OPEN_WAITS
    transaction[s] == NONE || transaction[s] == IN_DOUBT;
#endif
    if
    :: transaction[s] == IN_DOUBT -> reply = PREPARED
    :: transaction[s] != IN_DOUBT && marker[s] == NONE ->
#ifndef NO_ABORT_MARKER
      if
      :: transaction[s] == NONE -> marker[s] = ABORT
      :: else -> skip
      fi;
#endif
      reply = ABORT
    :: transaction[s] != IN_DOUBT && marker[s] != NONE -> reply = marker[s]
    fi;
    if
    :: me == W2 && reply != PREPARED -> settled[s] = 1
    :: else -> skip
    fi
  }
}

inline prepare(s) {
  atomic {
    asked[s] = 1;
    if
    :: transaction[s] = IN_DOUBT; reply = OK
    :: transaction[s] = NONE; reply = REFUSAL
    :: transaction[s] = IN_DOUBT; reply = UNKNOWN; muddled = 1
    :: transaction[s] = NONE; reply = UNKNOWN; muddled = 1
    :: transaction[s] = ORPHAN; reply = UNKNOWN; muddled = 1
    fi
  }
}

inline prepare_part(s) {
  if
  :: CLASS(s) == 1 && !fail ->
    prepare(s);
    if
    :: reply == UNKNOWN ->
      resolve(s);
      fail = (reply == PREPARED -> fail : 1)
    :: reply == REFUSAL -> fail = 1
    :: reply == OK
    fi
  :: else
  fi
}

inline commit_part(s) {
  if
  :: CLASS(s) == 2 && !fail ->
    commit(s);
    if
    :: reply == UNKNOWN ->
      resolve(s);
      fail = (reply == COMMIT -> fail : 1)
    :: reply == REFUSAL -> fail = 1
    :: reply == OK
    fi
  :: else
  fi
}

/* ---- class 3 ---- */

inline send_atomic(s) {
  atomic {
    transaction[s] == NONE;
    if
    :: !MAY_BEGIN(s) -> stop = 1
    :: MAY_BEGIN(s) && !UNTOUCHED(s) -> reply = REFUSAL
    :: MAY_BEGIN(s) && UNTOUCHED(s) -> commit_effect(s); reply = OK
    :: MAY_BEGIN(s) && UNTOUCHED(s) -> commit_effect(s); reply = UNKNOWN; muddled = 1
    :: reply = UNKNOWN; muddled = 1
    :: MAY_BEGIN(s) && UNTOUCHED(s) -> transaction[s] = ORPHAN; reply = UNKNOWN; muddled = 1
    fi
  }
}

inline batch_atomic(s) {
#ifndef NO_ANNOUNCEMENT
  note_batch(s, ANNOUNCED, 0);
#endif
  send_atomic(s);
  if
  :: reply == UNKNOWN ->
    resolve(s);
    fail = (reply == COMMIT -> fail : 1)
  :: reply == REFUSAL -> fail = 1
  :: reply == OK
  fi;
  if
  :: !fail -> note_batch(s, APPLIED, 0)
  :: else
  fi
}

/* ---- classes 4 and 5 ---- */

#define AS_WE_LEFT_IT(s) (mine[s] == AFTER(s) && !theirs[s] && (AFTER(s) == ABSENT || stamp[s] == STAMP))
#define MATCHES(s) (mine[s] == BEFORE(s) && !theirs[s] && stamp[s] == NO_STAMP)

#ifdef NO_LEASE_OUTLIVES
#define LEASE_OUTLIVES true
#else
#define LEASE_OUTLIVES (epoch == my_epoch)
#endif
#ifdef NO_LEASE_AGAIN
#define LEASE_AGAIN true
#else
#define LEASE_AGAIN LEASE_OUTLIVES
#endif

/* What arrives after the end makes its state a lie, but where the horizon is outlived and the document is watched (or void). */
#ifndef LATE
#define MAY_STRAY(s) false
#elif defined(VOID)
#define MAY_STRAY(s) (KIND(s) != 0)
#else
#define MAY_STRAY(s) watched[s]
#endif
#define ENDED_BACK (state == ROLLED_BACK || state == ROLLBACK_FAILED)

/* A request is sent only if the lease outlives its time limit. One that was not answered may still be on its way, at most one. */
inline send(s, lease) {
  atomic {
    if
    :: !(lease) -> stop = 1
    :: (lease) && MATCHES(s) -> put(s, AFTER(s), 0, STAMP, 1); assert(!ENDED_BACK || MAY_STRAY(s)); reply = OK
    :: (lease) && !MATCHES(s) -> reply = REFUSAL
    :: (lease) && MATCHES(s) -> put(s, AFTER(s), 0, STAMP, 1); reply = UNKNOWN; doubt = 1; muddled = 1
    :: (lease) && !MATCHES(s) -> reply = UNKNOWN; doubt = 1; muddled = 1
    :: (lease) && !flying[s] && (CLASS(s) != 5 || MATCHES(s)) -> flying[s] = 1; reply = UNKNOWN; doubt = 1; muddled = 1
    fi
  }
}

/* Refused on its second sending: is it ours all the same? */
inline look(s) {
  atomic {
    if
    :: AS_WE_LEFT_IT(s) -> reply = OK
    :: !AS_WE_LEFT_IT(s) && MATCHES(s) -> reply = REFUSAL /* as before: the refusal stands */
    :: !AS_WE_LEFT_IT(s) && !MATCHES(s) -> reply = REFUSAL
    fi
  }
}

inline batch_single(s) {
  doubt = 0;
#ifndef NO_ANNOUNCEMENT
  note_batch(s, ANNOUNCED, 0);
#endif
  send(s, LEASE_OUTLIVES);
#ifdef NO_UNKNOWN
  reply = (reply == UNKNOWN -> OK : reply);
#endif
  if
  :: reply == UNKNOWN ->
    send(s, LEASE_AGAIN);
    if
    :: reply == REFUSAL -> look(s)
    :: else
    fi
  :: else
  fi;
#ifdef NO_EVER_UNANSWERED
  doubt = (reply == UNKNOWN -> doubt : 0);
#endif
  if
  :: reply == OK -> note_batch(s, APPLIED, doubt)
  :: reply != OK ->
    failure = 1;
    if
#ifdef NO_KNOWN_ANSWERS
    :: true -> note_batch(s, ANNOUNCED, doubt)
#else
    :: doubt -> note_batch(s, ANNOUNCED, 1)
    :: !doubt -> note_batch(s, REFUSED, 0)
#endif
    fi
  fi;
  d_step { fail = (failure -> 1 : fail); failure = 0; doubt = 0; reply = 0 }
}

inline visible(s) {
  if
  :: CLASS(s) == 3 && !fail -> batch_atomic(s)
  :: SINGLE(s) && !WAITS(s) && !fail -> batch_single(s)
  :: else
  fi
}

/* ---- the decision, and after it ---- */

inline drop_open(s) {
  d_step {
    if
    :: transaction[s] == me -> transaction[s] = NONE; target[s] = 0
    :: else -> skip
    fi
  }
}

/* After a lost PREPARE: under a marker of its own, and under "equals the before image". */
inline apply_again(s) {
  atomic {
    transaction[s] == NONE;
    if
    :: again[s] == COMMIT -> reply = OK
#ifdef NO_CONDITION_AGAIN
    :: again[s] == NONE -> put(s, AFTER(s), theirs[s], NO_STAMP, 1); again[s] = COMMIT; reply = OK
#else
    :: again[s] == NONE && UNTOUCHED(s) -> put(s, AFTER(s), 0, NO_STAMP, 1); again[s] = COMMIT; reply = OK
    :: again[s] == NONE && !UNTOUCHED(s) -> reply = REFUSAL
#endif
    fi
  };
  if
  :: reply == REFUSAL -> note_conflict(s, 1)
  :: else
  fi
}

inline commit_prepared(s) {
  if
  :: CLASS(s) == 1 ->
    atomic {
      if
      :: transaction[s] == IN_DOUBT -> commit_effect(s); reply = OK
      :: transaction[s] == IN_DOUBT -> commit_effect(s); reply = UNKNOWN; muddled = 1
      :: transaction[s] != IN_DOUBT -> reply = REFUSAL
      fi
    };
    if
    :: reply == OK
    :: reply != OK ->
#ifdef NO_MARKER_AFTER_LOSS
      skip
#else
      resolve(s);
      if
      :: reply == COMMIT
      :: reply == PREPARED -> assert(false)
      :: else -> apply_again(s)
      fi
#endif
    fi
  :: else
  fi
}

/* What can't be taken back goes out after the decision. */
inline effect(s) {
  if
  :: WAITS(s) ->
    reply = UNKNOWN;
    if
    :: batch[s] == APPLIED -> reply = OK
    :: batch[s] == ANNOUNCED -> look(s); failure = (!AS_WE_LEFT_IT(s) && !MATCHES(s) -> 1 : 0)
    :: else
    fi;
    if
    :: reply == OK
    :: reply != OK && failure -> note_conflict(s, 1)
    :: reply != OK && !failure ->
      fail = 0;
      batch_single(s);
      if
      :: fail -> note_conflict(s, 1)
      :: else
      fi
    fi
  :: else
  fi
}

inline finish() {
#if C0 == 1
  commit_prepared(0);
#endif
#if C1 == 1
  commit_prepared(1);
#endif
#if C1 == 6
  effect(1);
#endif
  if
  :: conflict[0] || conflict[1] -> move(COMMIT_FAILED)
  :: else -> move(COMMITTED)
  fi
}

/* ---- going back ---- */

#define CONFLICTS(s, value, their) (value == FOREIGN || (KIND(s) == 1 && value == NEW && their) || (KIND(s) == 2 && value == OLD && their))
#define IS_AFTER(s, value) (value == AFTER(s))

#if defined(VOID) && !defined(NO_VOID) && !defined(NO_VOID_UNTOUCHED)
#define MUST_VOID(s) (doubt && SINGLE(s) && KIND(s) == 0 && MATCHES(s))
#else
#define MUST_VOID(s) false
#endif
#ifdef NO_COMPARISON
#define MUST_WRITE(s, value, their) true
#define IS_CONFLICT(s, value, their) false
#else
#define MUST_WRITE(s, value, their) (IS_AFTER(s, value) && !CONFLICTS(s, value, their))
#define IS_CONFLICT(s, value, their) CONFLICTS(s, value, their)
#endif

/* A committed branch, in a transaction that turns its marker into undone. A conflict is in the journal before it commits. */
inline open_undo(s) {
  atomic {
    transaction[s] == NONE;
    reply = OK;
    if
    :: marker[s] == UNDONE -> reply = REFUSAL
    :: marker[s] != UNDONE && !left_out && IS_CONFLICT(s, mine[s], theirs[s]) -> reply = UNKNOWN
    :: marker[s] != UNDONE && (left_out || !IS_CONFLICT(s, mine[s], theirs[s])) ->
      transaction[s] = me;
      target[s] = (!left_out && MUST_WRITE(s, mine[s], theirs[s]) -> BEFORE(s) : mine[s])
    fi
  }
}

inline undo_effect(s) {
  assert(!TERMINAL(state));
#ifdef NO_COMPARISON
  put(s, target[s], 0, NO_STAMP, 0);
#else
  put(s, target[s], theirs[s], NO_STAMP, (target[s] == FOREIGN || left_out) && inside[s]);
#endif
#ifndef NO_UNDONE_MARKER
  marker[s] = UNDONE;
#endif
  transaction[s] = NONE;
  target[s] = 0
}

inline restore_branch(s) {
  left_out = 0;
#ifdef NO_CONFLICT_KEPT
  note_conflict(s, 0);
#endif
  open_undo(s);
  if
  :: reply == UNKNOWN -> /* a conflict */
#ifndef NO_CONFLICT_FIRST
    note_conflict(s, 1);
#endif
    left_out = 1;
    open_undo(s)
  :: else
  fi;
  if
  :: reply == OK ->
    atomic {
      if
      :: undo_effect(s); reply = OK
      :: undo_effect(s); reply = UNKNOWN; muddled = 1 /* resolved by the marker: undone */
      fi
    };
    if
    :: reply == OK && !left_out -> note_conflict(s, 0) /* what an earlier rollback left out is restored: not before it is */
    :: else
    fi
  :: else
  fi;
#ifdef NO_CONFLICT_FIRST
  if
  :: left_out -> note_conflict(s, 1)
  :: else
  fi
#endif
}

inline abort_prepared(s) {
  d_step {
    if
    :: transaction[s] == IN_DOUBT -> transaction[s] = NONE
    :: else -> skip
    fi
  }
}

inline back_transaction(s) {
  if
  :: TRANSACTIONAL(s) && (recovering || asked[s]) ->
    if
    :: CLASS(s) == 1 -> abort_prepared(s)
    :: else
    fi;
    resolve(s);
    if
#ifndef NO_PREPARED_AGAIN
    :: reply == PREPARED -> /* by a zombie, since we asked for it */
      abort_prepared(s);
      resolve(s)
#endif
    :: else
    fi;
    if
    :: reply == COMMIT -> restore_branch(s)
    :: else
    fi;
    d_step { reply = 0; left_out = 0; asked[s] = 0 }
  :: else
  fi
}

inline back_batch(s) {
  if
  :: CLASS(s) == 3 && batch[s] != NONE && batch[s] != REFUSED && batch[s] != TAKEN_BACK ->
    resolve(s);
    if
    :: reply == COMMIT -> restore_branch(s)
    :: else
    fi;
    note_batch(s, TAKEN_BACK, 0);
    d_step { doubt = 0; reply = 0; left_out = 0 }
  :: else
  fi
}

#ifdef NO_ANNOUNCED_IN_DOUBT
#define IN_DOUBT_NOW(s) unanswered[s]
#else
#define IN_DOUBT_NOW(s) (unanswered[s] || (recovering && batch[s] == ANNOUNCED))
#endif

/* The horizon: requests have arrived, or never will; with -DLATE they may still come while the document is watched. */
inline wait_for_horizon(s) {
#if !defined(LATE) && !defined(NO_HORIZON)
  if
  :: doubt -> !flying[s]
  :: else
  fi
#else
  skip
#endif
}

#ifdef NO_CONDITION_BACK
#define AS_READ(s) true
#else
#define AS_READ(s) (mine[s] == seen && theirs[s] == seen_theirs && stamp[s] == seen_stamp)
#endif
#if defined(VOID) && !defined(NO_VOID)
#define STAMP_BACK(s) (doubt && KIND(s) == 0 -> VOID_STAMP : NO_STAMP)
#else
#define STAMP_BACK(s) NO_STAMP
#endif

/* Read, judge, write under the version just read; what somebody else changed between is looked at anew. */
inline back_one(s) {
  tries = 0;
  do
  :: tries < 3 ->
    atomic { seen = mine[s]; seen_theirs = theirs[s]; seen_stamp = stamp[s]; seen_untouched = MUST_VOID(s); tries++ };
    if
    :: !IS_CONFLICT(s, seen, seen_theirs) && !MUST_WRITE(s, seen, seen_theirs) && !seen_untouched -> break
    :: IS_CONFLICT(s, seen, seen_theirs) -> note_conflict(s, 1); break
    :: !IS_CONFLICT(s, seen, seen_theirs) && (MUST_WRITE(s, seen, seen_theirs) || seen_untouched) ->
      atomic {
        if
        :: !LEASE_OUTLIVES -> stop = 1
        :: LEASE_OUTLIVES && AS_READ(s) -> put(s, BEFORE(s), seen_theirs, STAMP_BACK(s), 0); reply = OK
        :: LEASE_OUTLIVES && AS_READ(s) -> put(s, BEFORE(s), seen_theirs, STAMP_BACK(s), 0); reply = UNKNOWN; muddled = 1
        :: LEASE_OUTLIVES && !AS_READ(s) -> reply = REFUSAL
        fi
      };
      if
      :: reply == OK -> break
      :: else
      fi
    fi
  :: tries == 3 -> note_conflict(s, 1); break
  od;
  tries = 0;
  seen = 0;
  seen_theirs = 0;
  seen_stamp = 0;
  seen_untouched = 0
}

inline back_single(s) {
  if
  :: SINGLE(s) && !WAITS(s) && batch[s] != NONE && batch[s] != REFUSED && batch[s] != TAKEN_BACK ->
    doubt = IN_DOUBT_NOW(s);
    wait_for_horizon(s);
    note_conflict(s, 0);
    back_one(s);
#if !defined(VOID) && !defined(NO_WATCH)
    if
    :: doubt && !conflict[s] -> d_step {
        if
        :: HOLDS_LEASE -> watched[s] = 1
        :: else -> stop = 1
        fi
      }
    :: else
    fi;
#endif
    note_batch(s, TAKEN_BACK, 0);
    d_step { doubt = 0; reply = 0; left_out = 0 }
  :: else
  fi
}

inline roll_back() {
  drop_open(0);
  drop_open(1);
#if C0 <= 2
  back_transaction(0);
#endif
#if C1 <= 2
  back_transaction(1);
#endif
#if C0 == 3
  back_batch(0);
#endif
#if C1 == 3
  back_batch(1);
#endif
#if C0 == 4 || C0 == 5
  back_single(0);
#endif
#if C1 == 4 || C1 == 5
  back_single(1);
#endif
  if
  :: conflict[0] || conflict[1] -> move(ROLLBACK_FAILED)
  :: else -> move(ROLLED_BACK)
  fi
}

/* ---- the drive order ---- */

inline begin_transactions() {
#if C0 <= 2
  if
  :: !fail -> begin(0)
  :: else
  fi;
#endif
#if C1 <= 2
  if
  :: !fail -> begin(1)
  :: else
  fi;
#endif
  skip
}

inline drive() {
  at = PLANNING;
#ifndef NO_LOG_FIRST
  move(LOGGED);
  move(EXECUTING);
#endif
  begin_transactions();
#ifdef REHEARSE
  drop_open(0);
  drop_open(1);
#endif
#if C0 >= 3 && C0 != 6
  visible(0);
#endif
#if C1 >= 3 && C1 != 6
  visible(1);
#endif
#ifdef NO_LOG_FIRST
  move(LOGGED);
  move(EXECUTING);
#endif
  if
  :: true
  :: fail = 1 /* a person cancels, or the pack of faults of a test */
  fi;
  if
  :: !fail ->
    move(PREPARING);
#ifdef REHEARSE
    begin_transactions();
#endif
#ifdef NO_PREPARE_FIRST
#if C0 == 2 && C1 == 2
    commit_part(1 - LAST);
#endif
#if HAS_LAST
    commit_part(LAST);
#endif
    skip;
#if C0 == 1
    prepare_part(0);
#endif
    prepare_part(1);
#else
#if C0 == 1
    prepare_part(0);
#endif
    prepare_part(1);
#ifdef NO_LAST_LAST
    commit_part(LAST);
    commit_part(1 - LAST);
    skip;
#else
#if C0 == 2 && C1 == 2
    commit_part(1 - LAST);
#endif
#if HAS_LAST
    commit_part(LAST);
#endif
    skip;
#endif
#endif
  :: else
  fi
}

/* Has the last resource committed? Then the decision is made, whatever failed. */
inline ask_last() {
  reply = ABORT;
#ifndef NO_LAST_ASKED
#if HAS_LAST
  if
  :: at == PREPARING && (recovering || asked[LAST]) ->
    drop_open(LAST);
    resolve(LAST)
  :: else
  fi
#else
  skip
#endif
#endif
}

inline bring_to_an_end() {
  if
  :: at == PREPARING && !fail -> move(COMMITTING)
  :: at == PREPARING && fail ->
    ask_last();
    if
    :: reply == COMMIT -> move(COMMITTING)
    :: else -> move(ROLLING_BACK)
    fi
  :: at == EXECUTING -> move(ROLLING_BACK)
  :: at == PLANNING || at == LOGGED -> move(ROLLED_BACK)
  :: else
  fi;
  d_step { fail = 0; failure = 0; reply = 0; doubt = 0; asked[1] = (at == ROLLING_BACK -> asked[1] : 0); asked[0] = (at == ROLLING_BACK -> asked[0] : 0) };
  if
#ifdef NO_FORWARD_ONLY
  :: at == COMMITTING && recovering -> move(ROLLING_BACK)
#endif
  :: at == COMMITTING -> finish()
  :: else
  fi;
  if
  :: at == ROLLING_BACK -> roll_back()
  :: else
  fi
}

#define GONE (dead[me] || stop)

inline forget() {
  reply = 0; fail = 0; failure = 0; stop = 0; doubt = 0; left_out = 0; asked[0] = 0; asked[1] = 0; tries = 0; seen = 0; seen_theirs = 0;
  seen_stamp = 0; seen_untouched = 0; at = 0
}

/* What a process that ends leaves: open transactions go with its connections, prepared ones stay. */
inline vanish() {
  drop_open(0);
  drop_open(1);
  d_step { forget(); dead[me] = 0; my_epoch = 0 }
}

#define LOCALS \
  byte my_epoch, at, reply, tries, seen, seen_stamp; \
  bit fail, failure, stop, doubt, left_out, seen_theirs, seen_untouched, recovering; \
  bit asked[2]

/* W1 drives once; W2 takes over until there is nothing to take over. */
proctype worker(byte me) {
  LOCALS;
  if
  :: me == W1 -> my_epoch = 1
  :: else -> recovering = 1
  fi;
next:
  if
  :: me == W1
  :: atomic { me == W2 && TERMINAL(state) -> goto over }
  :: atomic { me == W2 && !TERMINAL(state) -> epoch++; my_epoch = epoch; at = state; fail = 1; muddled = 1 } /* dead, or its lease is over */
  fi;
  {
    if
    :: me == W1 -> drive()
    :: else
    fi;
    bring_to_an_end();
    if
    :: me == W1 -> goto over
    :: else -> goto next
    fi
  } unless { GONE };
  vanish();
  if
  :: me == W2 -> goto next
  :: else
  fi;
over:
  atomic { done[me] = 1; forget(); my_epoch = 0 }
}

proctype crash() {
  if
  :: atomic { !done[W1] -> dead[W1] = 1; muddled = 1 }
  :: atomic { !done[W2] && epoch > 1 -> dead[W2] = 1; muddled = 1 }
  :: true
  fi
}

/* What the network and the servers still have. Late requests are conditional in class 4, not in class 5. */
inline arrive(s) {
  d_step {
    flying[s] = 0;
    if
    :: CLASS(s) == 5 || MATCHES(s) ->
      put(s, AFTER(s), 0, STAMP, 1);
      assert(!ENDED_BACK || MAY_STRAY(s))
    :: else -> skip
    fi
  }
}

inline orphan_ends(s) {
  atomic {
    transaction[s] == ORPHAN;
    if
    :: CLASS(s) == 1 -> transaction[s] = IN_DOUBT
    :: CLASS(s) != 1 ->
      put(s, AFTER(s), 0, NO_STAMP, 1);
      marker[s] = COMMIT;
      transaction[s] = NONE;
      if
      :: HAS_LAST && s == LAST -> decided = 1; assert(state == PREPARING)
      :: else -> skip
      fi
    :: transaction[s] = NONE
    fi
  }
}

#ifdef PERSON
/* A person ends a prepared transaction by hand. */
proctype person() {
  if
  :: atomic { transaction[0] == IN_DOUBT -> transaction[0] = NONE; muddled = 1 }
  :: true
  fi
}
#endif

proctype network() {
end:
  do
  :: flying[0] -> arrive(0)
  :: flying[1] -> arrive(1)
  :: atomic { flying[0] -> flying[0] = 0 }
  :: atomic { flying[1] -> flying[1] = 0 }
  :: orphan_ends(0)
  :: orphan_ends(1)
  od
}

/* Somebody else, once: another property, ours, the value that we would write, or a delete. A document in an open transaction is locked. A
 * store of class 5 has no conditions: nobody writes there while a request is on its way (docs/guarantees.md says that it can be lost). In
 * classes 4 to 6 a value equal to ours can't be told from ours, nor can a delete from a document that was not created yet. */
#define FREE(s) (transaction[s] == NONE && !(CLASS(s) == 5 && flying[s]))

inline somebody_writes(s) {
  if
  :: atomic { FREE(s) && mine[s] != ABSENT -> theirs[s] = 1; foreign_kind = 1; foreign_at = s }
  :: atomic { FREE(s) -> mine[s] = FOREIGN; foreign_kind = 2; foreign_at = s }
  :: atomic { FREE(s) && CLASS(s) <= 3 && KIND(s) != 2 && mine[s] != AFTER(s) -> mine[s] = AFTER(s); foreign_kind = 3; foreign_at = s }
  :: atomic { FREE(s) && KIND(s) == 0 && mine[s] != ABSENT ->
       mine[s] = ABSENT; theirs[s] = 0; stamp[s] = NO_STAMP; foreign_kind = 4; foreign_at = s }
  :: true
  fi
}

proctype foreigner() {
  if
  :: somebody_writes(0)
  :: somebody_writes(1)
  fi
}

/* Housekeeping: when the watch is over, what came late is taken back; then the world is as the state says. */
inline sweep(s) {
  tries = 0;
  do
  :: watched[s] && stamp[s] == STAMP && !CONFLICTS(s, mine[s], theirs[s]) && tries < 3 ->
    atomic { seen = mine[s]; seen_theirs = theirs[s]; seen_stamp = stamp[s]; tries++ };
    d_step {
      if
      :: AS_READ(s) && MUST_WRITE(s, seen, seen_theirs) -> put(s, BEFORE(s), seen_theirs, NO_STAMP, 0)
      :: else -> skip
      fi
    }
  :: else -> break
  od
}

proctype sweeper() {
  byte tries, seen, seen_stamp;
  bit seen_theirs;
  TERMINAL(state) && done[W1] && done[W2] && !flying[0] && !flying[1];
  if
  :: state == ROLLED_BACK ->
    sweep(0);
    sweep(1);
    assert(OUT(0) || mine[0] == FOREIGN || KIND(0) == 2); /* a late delete leaves no stamp */
    assert(OUT(1) || mine[1] == FOREIGN || KIND(1) == 2)
  :: else
  fi
}

#ifdef READER
#define HELD(x) (x >= LOGGED && !TERMINAL(x))
#ifdef NO_HELD_IMAGE
#define SHOWS_IMAGE(x) false
#else
#define SHOWS_IMAGE(x) HELD(x)
#endif
#ifdef NO_STRAY_READ
#define SHOWN(s) mine[s]
#else
#define SHOWN(s) (stamp[s] == STAMP && state == ROLLED_BACK -> BEFORE(s) : mine[s])
#endif
#define KEPT_LOCK(s) (TERMINAL(state) && conflict[s])

/* Both documents as `committed`: the journal, the stores, the journal again. */
proctype reader() {
  byte generation_before, value[2];
  atomic { generation_before = generation };
  atomic { value[0] = SHOWN(0) };
  atomic { value[1] = SHOWN(1) };
  atomic {
    if
    :: SHOWS_IMAGE(state) ->
      value[0] = (state == COMMITTING -> AFTER(0) : BEFORE(0));
      value[1] = (state == COMMITTING -> AFTER(1) : BEFORE(1))
    :: else -> skip
    fi;
    if
#ifdef NO_GENERATION
    :: true ->
#else
    :: generation_before == generation ->
#endif
      assert(conflict[0] || conflict[1] || foreign_kind == 3 || !(value[0] == AFTER(0) && value[1] == BEFORE(1)));
      assert(conflict[0] || conflict[1] || foreign_kind == 3 || !(value[0] == BEFORE(0) && value[1] == AFTER(1)))
    :: else -> skip /* again, from the start */
    fi
  }
  generation_before = 0;
  value[0] = 0;
  value[1] = 0
}
#endif

init {
  atomic {
    mine[0] = BEFORE(0);
    mine[1] = BEFORE(1);
    run worker(W1);
    run worker(W2);
    run crash();
    run network();
#ifndef CALM
    run foreigner();
#endif
    run sweeper();
#ifdef PERSON
    run person();
#endif
#ifdef READER
    run reader()
#endif
  }
}
