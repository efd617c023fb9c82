/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Split: an x86-64 instruction that reads memory, changes it and writes it
 * back, taken apart; pure functions, for the kernel and for the tests
 *
 *	this CPU   read ======== waits ======== change, write
 *	another                write, and it is lost
 *
 * Without a lock prefix its two accesses are two (Intel SDM, volume 3A, "Locked
 * Atomic Operations"): what another CPU writes in between is lost.  A CPU is
 * quick there, and nothing parts the two but whoever does the instruction's
 * work in its place.  Memory is never touched here.
 */
#ifndef AT_SPLIT_H
#define AT_SPLIT_H

#include <linux/types.h>

#define AT_SPLIT_LONGEST	15	/* bytes of an instruction */
#define AT_SPLIT_NO_REGISTER	0xff
#define AT_SPLIT_SP		4

enum at_split_change {
	AT_SPLIT_NONE,		/* no such instruction */
	AT_SPLIT_ADD,
	AT_SPLIT_OR,
	AT_SPLIT_AND,
	AT_SPLIT_SUB,
	AT_SPLIT_XOR,
	AT_SPLIT_INC,		/* these two leave the carry flag alone */
	AT_SPLIT_DEC,
	AT_SPLIT_BTS,		/* as __set_bit() and __clear_bit() are made of */
	AT_SPLIT_BTR,
};

/* Registers by their number in the encoding: ax cx dx bx sp bp si di r8 … r15. */
struct at_split {
	__u8 change;
	__u8 width;		/* bytes: 1, 2, 4 or 8 */
	__u8 length;		/* of the instruction, bytes */
	__u8 source;		/* register, or none: the immediate */
	__u8 base;
	__u8 index;
	__u8 scale;		/* index << scale */
	__u8 ip_relative;
	__s64 immediate;
	__s32 displacement;
};

static inline __s32 at_split_s32(const __u8 *at)
{
	return (__s32)((__u32)at[0] | (__u32)at[1] << 8 | (__u32)at[2] << 16 | (__u32)at[3] << 24);
}

/* ModRM with what follows it; NULL: no memory, or the stack's, which nobody shares. */
static inline const __u8 *at_split_operand(const __u8 *at, __u8 rex, struct at_split *split)
{
	__u8 mod = at[0] >> 6;
	__u8 rm = at[0] & 7;

	at++;
	if (mod == 3)
		return 0;
	split->base = rm | (rex & 1) << 3;
	if (rm == 4) {
		__u8 index = (at[0] >> 3 & 7) | (rex & 2) << 2;

		split->scale = at[0] >> 6;
		if (index != AT_SPLIT_SP)
			split->index = index;
		split->base = (at[0] & 7) | (rex & 1) << 3;
		if (mod == 0 && (at[0] & 7) == 5) {
			split->base = AT_SPLIT_NO_REGISTER;
			mod = 2;
		}
		at++;
	} else if (mod == 0 && rm == 5) {
		split->base = AT_SPLIT_NO_REGISTER;
		split->ip_relative = 1;
		mod = 2;
	}
	if (split->base == AT_SPLIT_SP)
		return 0;
	if (mod == 1) {
		split->displacement = (__s8)*at++;
	} else if (mod == 2) {
		split->displacement = at_split_s32(at);
		at += 4;
	}
	return at;
}

/* Of the eight arithmetic operations that share their encodings. */
static inline __u8 at_split_arithmetic(__u8 number)
{
	switch (number) {
	case 0:
		return AT_SPLIT_ADD;
	case 1:
		return AT_SPLIT_OR;
	case 4:
		return AT_SPLIT_AND;
	case 5:
		return AT_SPLIT_SUB;
	case 6:
		return AT_SPLIT_XOR;
	default:
		return AT_SPLIT_NONE;	/* with the carry flag, or no write */
	}
}

static inline int at_split_none(struct at_split *split)
{
	split->change = AT_SPLIT_NONE;
	split->source = AT_SPLIT_NO_REGISTER;
	split->base = AT_SPLIT_NO_REGISTER;
	split->index = AT_SPLIT_NO_REGISTER;
	split->scale = 0;
	split->ip_relative = 0;
	split->immediate = 0;
	split->displacement = 0;
	return 0;
}

/*
 * What the instruction of these AT_SPLIT_LONGEST bytes is.  0, with `change`
 * AT_SPLIT_NONE, for any that is not known here: one with a lock or segment
 * prefix, one that does not write, one on the stack.
 */
static inline int at_split_decode(const __u8 *code, struct at_split *split)
{
	const __u8 *at = code;
	__u8 opcode, number, rex = 0;
	__u8 immediate = 0;	/* bytes */
	int is_word = 0, is_byte = 0;

	at_split_none(split);
	if (*at == 0x66) {
		is_word = 1;
		at++;
	}
	if ((*at & 0xf0) == 0x40)
		rex = *at++;
	opcode = *at++;
	if (opcode == 0x0f) {
		opcode = *at++;
		number = *at >> 3 & 7;
		if (opcode == 0xab || opcode == 0xb3) {
			split->change = opcode == 0xab ? AT_SPLIT_BTS : AT_SPLIT_BTR;
			split->source = number | (rex & 4) << 1;
		} else if (opcode == 0xba && (number == 5 || number == 6)) {
			split->change = number == 5 ? AT_SPLIT_BTS : AT_SPLIT_BTR;
			immediate = 1;
		}
	} else {
		number = *at >> 3 & 7;
		is_byte = !(opcode & 1);
		if (opcode < 0x40 && (opcode & 7) < 2) {
			split->change = at_split_arithmetic(opcode >> 3);
			split->source = number | (rex & 4) << 1;
			if (is_byte && !rex && number >= 4)
				return at_split_none(split);	/* ah, ch, dh, bh */
		} else if (opcode == 0x80 || opcode == 0x81 || opcode == 0x83) {
			split->change = at_split_arithmetic(number);
			immediate = opcode != 0x81 ? 1 : is_word && !(rex & 8) ? 2 : 4;
		} else if (opcode == 0xfe || opcode == 0xff) {
			split->change = number == 0 ? AT_SPLIT_INC : number == 1 ? AT_SPLIT_DEC : AT_SPLIT_NONE;
			split->immediate = 1;
		}
	}
	if (split->change == AT_SPLIT_NONE)
		return at_split_none(split);
	split->width = is_byte ? 1 : rex & 8 ? 8 : is_word ? 2 : 4;
	at = at_split_operand(at, rex, split);
	if (!at)
		return at_split_none(split);
	if (immediate == 1)
		split->immediate = (__s8)*at;
	else if (immediate == 2)
		split->immediate = (__s16)(at[0] | at[1] << 8);
	else if (immediate == 4)
		split->immediate = at_split_s32(at);
	split->length = at + immediate - code;
	return 1;
}

/* A register of so many bytes, with its sign. */
static inline __s64 at_split_signed(__u64 value, __u8 width)
{
	unsigned int unused = 64 - 8 * width;

	return (__s64)(value << unused) >> unused;
}

/* What changes the memory: a number, or which bit of the string that begins there. */
static inline __s64 at_split_operand_value(const struct at_split *split, const __u64 *registers)
{
	if (split->source == AT_SPLIT_NO_REGISTER)
		return split->immediate;
	return at_split_signed(registers[split->source], split->width);
}

/* Where the memory is.  @next_ip: of the instruction behind this one. */
static inline __u64 at_split_address(const struct at_split *split, const __u64 *registers, __u64 next_ip)
{
	__u64 address = (__s64)split->displacement;

	if (split->ip_relative)
		address += next_ip;
	if (split->base != AT_SPLIT_NO_REGISTER)
		address += registers[split->base];
	if (split->index != AT_SPLIT_NO_REGISTER)
		address += registers[split->index] << split->scale;
	/* a bit in a register may lie anywhere before or behind */
	if (split->change >= AT_SPLIT_BTS && split->source != AT_SPLIT_NO_REGISTER) {
		__s64 bit = at_split_operand_value(split, registers);

		address += (bit >> (split->width == 8 ? 6 : split->width == 4 ? 5 : 4)) * split->width;
	}
	return address;
}

#define AT_SPLIT_CF	0x001UL
#define AT_SPLIT_OF	11		/* its place */
#define AT_SPLIT_LAHF	0x0c1UL		/* carry, zero, sign; nobody asks for the parity */
#define AT_SPLIT_FLAGS	(AT_SPLIT_LAHF | 1UL << AT_SPLIT_OF)

#ifdef __x86_64__
#define AT_SPLIT_DO(instruction)						\
	do {									\
		__asm__(instruction " %2, %0; lahf; seto %%al"			\
			: "+r"(value), "=a"(told) : "r"(by) : "cc");		\
		told = (told >> 8 & AT_SPLIT_LAHF) | (told & 1) << AT_SPLIT_OF;	\
	} while (0)

/* @old changed, of `width` bytes; @flags of the instruction in the place of its own. */
static inline __u64 at_split_change(const struct at_split *split, __u64 old, __s64 operand,
				    unsigned long *flags)
{
	/* at the top of a register the flags are those of the width */
	unsigned int unused = 64 - 8 * split->width;
	unsigned long mask = AT_SPLIT_FLAGS;
	__u64 value = old << unused;
	__u64 by = (__u64)operand << unused;
	unsigned long told = 0;
	__u64 bit;

	switch (split->change) {
	case AT_SPLIT_INC:
		mask &= ~AT_SPLIT_CF;
		__attribute__((__fallthrough__));
	case AT_SPLIT_ADD:
		AT_SPLIT_DO("addq");
		break;
	case AT_SPLIT_DEC:
		mask &= ~AT_SPLIT_CF;
		__attribute__((__fallthrough__));
	case AT_SPLIT_SUB:
		AT_SPLIT_DO("subq");
		break;
	case AT_SPLIT_OR:
		AT_SPLIT_DO("orq");
		break;
	case AT_SPLIT_AND:
		AT_SPLIT_DO("andq");
		break;
	case AT_SPLIT_XOR:
		AT_SPLIT_DO("xorq");
		break;
	default:
		bit = 1ULL << (operand & (8 * split->width - 1));
		mask = AT_SPLIT_CF;
		told = old & bit ? AT_SPLIT_CF : 0;
		value = (split->change == AT_SPLIT_BTS ? old | bit : old & ~bit) << unused;
	}
	*flags = (*flags & ~mask) | (told & mask);
	return value >> unused;
}
#endif

#endif
