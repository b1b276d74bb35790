// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Nothing may touch the memory, so each access is a fault. The instruction at fault says how much
 * it loads; it is let through alone, and then the next fault is waited for.
 */
#define _GNU_SOURCE

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "watch.h"

struct watch watch;
const int watch_effort = 1;

#if !defined(REG_EFL)
#define WHY_NOT "knows the instructions of x86 only"
#elif !defined(__OPTIMIZE__)
#define WHY_NOT "not the library as it is: not optimised"
#elif defined(__SANITIZE_ADDRESS__)
#define WHY_NOT "not the library as it is: a sanitizer"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define WHY_NOT "not the library as it is: a sanitizer"
#endif
#endif

#ifdef WHY_NOT

const char *watch_why_not(void)
{
	return WHY_NOT;
}

void watch_begin(void)
{
}

void watch_end(void)
{
}

#else

#ifdef REG_RIP
#define REG_INSN REG_RIP
#else
#define REG_INSN REG_EIP
#endif
#define FLAG_STEP 0x100		/* of the flags register: trap after one instruction */
#define FAULT_STORE 2		/* of a fault's error code */

static struct sigaction old_segv, old_trap;
static size_t last_off, last_len;

/* Not to be gone on from: the code under test is wrong, or we do not know enough. */
static void die(const char *what, const uint8_t *insn)
{
	char text[160];
	int i, len;

	len = snprintf(text, sizeof(text), "Bail out! %s; instruction:", what);
	for (i = 0; i < 8; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, " %02x", insn[i]);
	text[len++] = '\n';
	if (write(STDOUT_FILENO, text, (size_t)len) < 0)
		_exit(2);
	_exit(1);
}

struct insn {
	const uint8_t *op;	/* the opcode */
	size_t size;		/* bytes of its operands, where they are no single bytes */
	bool prefix_66;
	uint8_t rep;		/* prefix f2 or f3, or 0 */
};

static void insn_prefixes(struct insn *insn, const uint8_t *p)
{
	bool wide = false;

	insn->prefix_66 = false;
	insn->rep = 0;
	for (;; p++) {
		if (*p == 0x66)
			insn->prefix_66 = true;
		else if (*p == 0xf2 || *p == 0xf3)
			insn->rep = *p;
		else
			break;
	}
#ifdef REG_RIP
	if ((*p & 0xf0) == 0x40)
		wide = *p++ & 8;
#endif
	insn->op = p;
	insn->size = wide ? 8 : insn->prefix_66 ? 2 : 4;
}

/* The vector registers have loads and stores of their own. */
static int insn_len_0f(const struct insn *insn, bool store)
{
	switch (insn->op[1]) {
	case 0xb6:	/* movzx, movsx */
	case 0xbe:
		return 1;
	case 0xb7:
	case 0xbf:
		return 2;
	case 0x38:	/* movbe */
		return insn->op[2] == 0xf0 ? (int)insn->size : -1;
	case 0x6e:	/* movd, movq */
		return insn->size == 8 ? 8 : 4;
	case 0x7e:
		return insn->rep ? 8 : store ? 0 : -1;
	case 0x12:	/* movlps, movhps */
	case 0x16:
		return 8;
	case 0x10:	/* movups, movss, movsd */
		return insn->rep == 0xf3 ? 4 : insn->rep == 0xf2 ? 8 : 16;
	case 0x6f:	/* movdqa, movdqu, movq */
		return insn->prefix_66 || insn->rep ? 16 : 8;
	case 0x28:	/* movaps */
		return 16;
	case 0x11:	/* and the stores */
	case 0x13:
	case 0x17:
	case 0x29:
	case 0x7f:
	case 0xd6:
		return store ? 0 : -1;
	default:
		return -1;
	}
}

/* Bytes of memory that an instruction loads; 0: it only stores; -1: not known here */
static int insn_len(const struct insn *insn, bool store)
{
	const uint8_t op = insn->op[0], reg = insn->op[1] >> 3 & 7;
	const int size = (int)insn->size, len = op & 1 ? size : 1;

	if (op == 0x0f)
		return insn_len_0f(insn, store);
	if (op == 0x88 || op == 0x89 || op == 0xc6 || op == 0xc7)	/* mov to memory */
		return store ? 0 : -1;
	if (store)
		return -1;
	if (op < 0x40 && (op & 6) == 2)		/* add and its like, from memory */
		return len;
	switch (op) {
	case 0x38:	/* cmp */
	case 0x39:
	case 0x84:	/* test */
	case 0x85:
	case 0x8a:	/* mov */
	case 0x8b:
		return len;
	case 0x80:	/* cmp with a constant */
	case 0x81:
		return reg == 7 ? len : -1;
	case 0x83:
		return reg == 7 ? size : -1;
	case 0xf6:	/* test with a constant */
	case 0xf7:
		return reg <= 1 ? len : -1;
	case 0x69:	/* imul */
	case 0x6b:
		return size;
#ifdef REG_RIP
	case 0x63:	/* movsxd */
		return 4;
#endif
	default:
		return -1;
	}
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	const uint8_t *p = (const uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_INSN];
	size_t off = (size_t)((uintptr_t)info->si_addr - (uintptr_t)watch.mem);
	bool store = uc->uc_mcontext.gregs[REG_ERR] & FAULT_STORE;
	struct insn insn;
	int len;

	(void)sig;
	if (off >= WATCH_LEN)
		die("an access outside of all memory", p);
	insn_prefixes(&insn, p);
	len = insn_len(&insn, store);
	if (len < 0)
		die(store ? "not known what it stores" : "not known what it loads", p);
	last_off = off;
	last_len = (size_t)len;
	if (store)
		watch.nr_stores++;
	else
		watch_count(last_off, last_len);
	mprotect(watch.mem, WATCH_LEN, PROT_READ | PROT_WRITE);
	uc->uc_mcontext.gregs[REG_EFL] |= FLAG_STEP;
}

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	watch_overwrite(last_off, last_len);
	mprotect(watch.mem, WATCH_LEN, PROT_NONE);
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)FLAG_STEP;
}

const char *watch_why_not(void)
{
	return NULL;
}

void watch_begin(void)
{
	struct sigaction segv = { .sa_flags = SA_SIGINFO, .sa_sigaction = on_fault };
	struct sigaction trap = { .sa_flags = SA_SIGINFO, .sa_sigaction = on_step };

	watch_forget();
	sigaction(SIGSEGV, &segv, &old_segv);
	sigaction(SIGTRAP, &trap, &old_trap);
	mprotect(watch.mem, WATCH_LEN, PROT_NONE);
}

void watch_end(void)
{
	mprotect(watch.mem, WATCH_LEN, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGTRAP, &old_trap, NULL);
}

#endif
