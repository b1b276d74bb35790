// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * A migration that asks the guest for unused pages: the guest's memory, its driver, the device, and
 * the migration itself, with a reset, a death, a time limit and a CANCEL at any time. States and
 * steps of driver and device are those of lib/request.c, by the same names. What holds:
 *
 * copied	 when the guest has stopped, the destination gets each page in use as it is then
 * fresh	 no answer is applied after the collection of the write log that follows its request
 * migrates	 the migration ends, whatever the guest does
 * requests_end	 each request ends, unless the guest dies
 *
 * Each name below, given with -D, takes a rule away; `check` shows what breaks without it.
 *
 * NO_ID_CHECK	 answers are applied whatever their id
 * NO_FORGET	 a request stays open over a collection of the write log
 * LATE_FORGET	 what was collected is merged before the request is forgotten
 * REUSE_IDS	 ids come again
 * WAIT		 the migration waits for the guest
 * NO_END	 the driver does not answer what was cancelled
 *
 * COPIED_ONLY	 does not look whether answers are fresh, so that it is seen what comes of it
 */
#ifndef NR_PAGES
#define NR_PAGES 2
#endif
#ifndef NR_ROUNDS
#define NR_ROUNDS 2
#endif
#define NR_PARKED 2	/* buffers for requests */
#define NR_CHAINS 2	/* answers that the queue holds */
#define NR_ENDS 2	/* lib/request.c has room for more; with 2, to be full is common */
#define NO_PAGE 255
#define ANY_ID 255

mtype:cmd = { GET_UNUSED_PAGES, CANCEL };
mtype:flag = { CONT, DONE, BUSY, CANCELLED, FAILED };
mtype:host = { CLOSED, OPEN, FORGOTTEN };
mtype:guest = { IDLE, SERVING, STOPPING };

/* Memory */
bool used[NR_PAGES];
bool logged[NR_PAGES];		/* written since the last collection */
bool dirty[NR_PAGES];		/* still to be copied, as far as the migration knows */
bool current[NR_PAGES];		/* not written since it was copied */

/*
 * The queue. Variables that are not in use are set to 0, so that there are fewer states. The epoch is
 * nothing that the code has: it tells whether an answer is fresh.
 */
byte epoch;			/* collections of the write log so far */
chan asked = [NR_PARKED] of { mtype:cmd, byte /* id */, byte /* arg0 */, byte /* epoch */ };
chan answered = [NR_CHAINS] of
	{ mtype:cmd, byte /* id */, mtype:flag, byte /* page */, byte /* epoch */ };

/* struct vbb_host */
byte next_id = 1;
byte applying_id;
mtype:host work = CLOSED;
byte work_id;
mtype:host cancel = CLOSED;
byte cancel_id;

/* struct vbb_guest */
mtype:guest state = IDLE;
byte req_id;
byte req_epoch;
chan ends = [NR_ENDS] of { mtype:cmd, byte /* id */, mtype:flag };

byte page;			/* the driver's walk: the page that it looks at next */
bool stopped, migrated, dead;

inline next(id)
{
	id = next_id;
#ifdef REUSE_IDS
	next_id = 3 - next_id
#else
	next_id++
#endif
}

inline host_open()
{
	work = OPEN;
	next(work_id);
	asked!GET_UNUSED_PAGES, work_id, 0, epoch
}

inline host_cancel()
{
	work = FORGOTTEN;
	if
	:: applying_id == work_id -> applying_id = 0
	:: else
	fi;
	cancel = OPEN;
	next(cancel_id);
	asked!CANCEL, cancel_id, work_id, 0
}

inline host_forget()
{
	applying_id = 0;
	if
	:: work == OPEN -> work = FORGOTTEN
	:: else
	fi
}

inline host_close()
{
	work = CLOSED;
	work_id = 0
}

inline host_reset()
{
	applying_id = 0;
	host_close();
	cancel = CLOSED;
	cancel_id = 0
}

inline host_accept(cmd, id, flag)
{
	applying_id = 0;
	if
#ifdef NO_ID_CHECK
	:: cmd == GET_UNUSED_PAGES && flag == CONT -> applying_id = ANY_ID
	:: cmd == GET_UNUSED_PAGES && flag != CONT -> host_close()
#else
	:: work != CLOSED && id == work_id && cmd == GET_UNUSED_PAGES ->
		if
		:: flag == CONT && work == OPEN -> applying_id = id
		:: flag == CONT && work == FORGOTTEN
		:: flag != CONT -> host_close()
		fi
#endif
	:: cancel != CLOSED && id == cancel_id && cmd == CANCEL ->
		cancel = CLOSED;
		cancel_id = 0
	:: else
	fi
}

#define guest_ready (len(ends) + (state != IDLE) < NR_ENDS)

inline guest_take(cmd, id, arg0, asked_at)
{
	if
	:: cmd == GET_UNUSED_PAGES && state == IDLE ->
		state = SERVING;
		req_id = id;
		req_epoch = asked_at
	:: cmd == GET_UNUSED_PAGES && state != IDLE ->
		ends!cmd, id, BUSY
	:: cmd == CANCEL && state != IDLE && arg0 == req_id ->
		state = STOPPING;
		ends!cmd, id, DONE
	:: cmd == CANCEL && !(state != IDLE && arg0 == req_id) ->
		/* or DONE, where the end is not sent: the host makes no difference */
		ends!cmd, id, FAILED
	fi
}

inline guest_init()
{
	state = IDLE;
	req_id = 0;
	req_epoch = 0;
	page = 0
}

inline guest_end(flag)
{
	ends!GET_UNUSED_PAGES, req_id, flag;
	guest_init()
}

/* Takes a page into use or writes it anew, or frees it. What nobody uses, nobody reads. */
active proctype Processor()
{
	byte p;

end:	do
	:: atomic {
		!stopped ->
		select(p : 0 .. NR_PAGES - 1);
		if
		:: true ->
			used[p] = true;
			logged[p] = true;
			current[p] = false
		:: used[p] -> used[p] = false
		fi;
		p = 0
	   }
	od
}

active proctype Driver()
{
	mtype:cmd cmd;
	mtype:flag flag;
	byte id, arg0, asked_at;

end:	do
	:: atomic {
		!dead && guest_ready && nempty(asked) ->
		asked?cmd, id, arg0, asked_at;
		guest_take(cmd, id, arg0, asked_at);
		cmd = 0; id = 0; arg0 = 0; asked_at = 0
	   }
	:: atomic {
		!dead && nempty(ends) && nfull(answered) ->
		ends?cmd, id, flag;
		answered!cmd, id, flag, NO_PAGE, 0;
		cmd = 0; id = 0; flag = 0
	   }
	:: atomic {
		!dead && state == SERVING && page < NR_PAGES && nfull(answered) ->
		if
		:: !used[page] -> answered!GET_UNUSED_PAGES, req_id, CONT, page, req_epoch
		:: used[page]
		fi;
		page++
	   }
	:: atomic { !dead && state == SERVING && page == NR_PAGES -> guest_end(DONE) }
#ifdef NO_END
	:: atomic { !dead && state == STOPPING -> guest_init() }
#else
	:: atomic { !dead && state == STOPPING -> guest_end(CANCELLED) }
#endif
	od
}

/* The device's end of the queue. An answer is applied some time after it was accepted. */
active proctype Device()
{
	mtype:cmd cmd;
	mtype:flag flag;
	byte id, named, asked_at;

end:	do
	:: atomic {
		!applying_id && nempty(answered) ->
		answered?cmd, id, flag, named, asked_at;
		host_accept(cmd, id, flag);
		cmd = 0; id = 0; flag = 0
		if
		:: applying_id
		:: else -> named = 0; asked_at = 0
		fi
	   }
	:: atomic {
		applying_id ->
#ifndef COPIED_ONLY
		assert(asked_at == epoch);	/* fresh */
#endif
		dirty[named] = false;
		applying_id = 0; named = 0; asked_at = 0
	   }
	od
}

/* At any time or never: a new driver, and no driver any more */
active proctype Reset()
{
	if
	:: atomic {
		!dead ->
		host_reset();
		guest_init();
		do
		:: nempty(asked) -> asked?_, _, _, _
		:: nempty(answered) -> answered?_, _, _, _, _
		:: nempty(ends) -> ends?_, _, _
		:: empty(asked) && empty(answered) && empty(ends) -> break
		od
	   }
	:: true
	fi
}

active proctype Death()
{
	if
	:: dead = true
	:: true
	fi
}

inline merge()
{
	p = 0;
	do
	:: p < NR_PAGES ->
		dirty[p] = dirty[p] || logged[p];
		logged[p] = false;
		p++
	:: p == NR_PAGES -> break
	od;
	p = 0
}

inline collect()
{
#ifdef LATE_FORGET
	atomic { epoch++; merge() };
	atomic { host_forget() }
#else
#ifndef NO_FORGET
	atomic { host_forget() };
#endif
	atomic { epoch++; merge() }
#endif
}

inline copy(p)
{
	dirty[p] = false;
	current[p] = true
}

active proctype Migration()
{
	byte p, round;
	bool tried, limit;

	/* From now on writes are logged, and nothing is copied yet. */
	atomic {
		do
		:: p < NR_PAGES -> used[p] = true; dirty[p] = true; p++
		:: p == NR_PAGES -> break
		od;
		p = 0
	};
	do
	:: round < NR_ROUNDS ->
		collect();
		do
		:: atomic { work == CLOSED && nfull(asked) -> host_open() }; break
		:: break
		od;
		do
		:: atomic { dirty[0] -> copy(0) }
		:: atomic { dirty[NR_PAGES - 1] -> copy(NR_PAGES - 1) }
		:: atomic {
			!tried && work != CLOSED && cancel == CLOSED && nfull(asked) ->
			tried = true;
			host_cancel()
		   }
		:: atomic { !limit && work != CLOSED -> limit = true; host_close() }
		:: break
		od;
#ifdef WAIT
		work == CLOSED;
#endif
		round++
	:: round == NR_ROUNDS -> break
	od;
	stopped = true;
	collect();
	atomic {
		do
		:: p < NR_PAGES ->
			if
			:: dirty[p] -> copy(p)
			:: else
			fi;
			assert(!used[p] || current[p]);	/* copied */
			p++
		:: p == NR_PAGES -> break
		od
	};
	migrated = true
}

ltl migrates { <> migrated }
ltl requests_end { [] (work != CLOSED -> <> (work == CLOSED || dead)) }
