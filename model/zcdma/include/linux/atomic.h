/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Atomics, bit operations, reference counts.  As in the kernel, operations
 * that return a value are full barriers and the others order nothing.
 */
#ifndef MODEL_LINUX_ATOMIC_H
#define MODEL_LINUX_ATOMIC_H

#include <linux/types.h>

typedef struct { int counter; } atomic_t;
typedef struct { long counter; } atomic_long_t;
typedef struct { s64 counter; } atomic64_t;

#define AT_ATOMIC(v)		&(v)->counter, sizeof((v)->counter), #v

#define atomic_read(v)			((int)at_atomic_read(AT_ATOMIC(v), AT_HERE))
#define atomic_set(v, i)		at_atomic_set(AT_ATOMIC(v), i, AT_HERE)
#define atomic_inc(v)			at_atomic_add(AT_ATOMIC(v), 1, AT_HERE)
#define atomic_dec(v)			at_atomic_add(AT_ATOMIC(v), -1, AT_HERE)
#define atomic_add(i, v)		at_atomic_add(AT_ATOMIC(v), i, AT_HERE)
#define atomic_sub(i, v)		at_atomic_add(AT_ATOMIC(v), -(long)(i), AT_HERE)
#define atomic_read_acquire(v)		((int)at_atomic_read_acquire(AT_ATOMIC(v), AT_HERE))
/* here a full barrier, which is more than it says */
#define atomic_dec_return_release(v)	((int)at_atomic_fetch_add(AT_ATOMIC(v), -1, AT_HERE) - 1)
#define atomic_dec_return(v)		((int)at_atomic_fetch_add(AT_ATOMIC(v), -1, AT_HERE) - 1)
#define atomic_add_return(i, v)		((int)at_atomic_fetch_add(AT_ATOMIC(v), i, AT_HERE) + (i))
#define atomic_sub_return(i, v)		((int)at_atomic_fetch_add(AT_ATOMIC(v), -(long)(i), AT_HERE) - (i))
#define atomic_inc_return(v)		((int)at_atomic_fetch_add(AT_ATOMIC(v), 1, AT_HERE) + 1)
#define atomic_dec_and_test(v)		(at_atomic_fetch_add(AT_ATOMIC(v), -1, AT_HERE) == 1)
#define atomic_sub_and_test(i, v)	(at_atomic_fetch_add(AT_ATOMIC(v), -(long)(i), AT_HERE) == (i))
#define atomic_inc_and_test(v)		(at_atomic_fetch_add(AT_ATOMIC(v), 1, AT_HERE) == -1)
#define atomic_xchg(v, i)		((int)at_atomic_xchg(AT_ATOMIC(v), i, AT_HERE))
#define atomic_cmpxchg(v, o, n)		((int)at_atomic_cmpxchg(AT_ATOMIC(v), o, n, AT_HERE))
#define atomic_long_read(v)		((long)at_atomic_read(AT_ATOMIC(v), AT_HERE))
#define atomic_long_set			atomic_set
#define atomic_long_add			atomic_add
#define atomic_long_sub			atomic_sub
#define atomic_long_inc			atomic_inc
#define atomic_long_dec			atomic_dec
#define atomic_long_dec_and_test	atomic_dec_and_test
#define atomic64_read(v)		((s64)at_atomic_read(AT_ATOMIC(v), AT_HERE))
#define atomic64_set			atomic_set
#define atomic64_add			atomic_add
#define atomic64_inc			atomic_inc

#define test_and_set_bit(n, p)		at_test_and_change_bit(n, p, #p, 1, AT_HERE)
#define test_and_clear_bit(n, p)	at_test_and_change_bit(n, p, #p, 0, AT_HERE)
#define set_bit(n, p)			((void)test_and_set_bit(n, p))
#define clear_bit(n, p)			((void)test_and_clear_bit(n, p))

#define BITS_PER_LONG			64
#define BITS_TO_LONGS(n)		DIV_ROUND_UP(n, BITS_PER_LONG)

static inline void __set_bit(long n, unsigned long *p)
{
	p[n / BITS_PER_LONG] |= BIT(n % BITS_PER_LONG);
}
static inline void __clear_bit(long n, unsigned long *p)
{
	p[n / BITS_PER_LONG] &= ~BIT(n % BITS_PER_LONG);
}
static inline bool __test_and_set_bit(long n, unsigned long *p)
{
	bool was = p[n / BITS_PER_LONG] >> (n % BITS_PER_LONG) & 1;

	__set_bit(n, p);
	return was;
}
static inline bool __test_and_clear_bit(long n, unsigned long *p)
{
	bool was = p[n / BITS_PER_LONG] >> (n % BITS_PER_LONG) & 1;

	__clear_bit(n, p);
	return was;
}
static inline bool test_bit(long n, const unsigned long *p)
{
	return p[n / BITS_PER_LONG] >> (n % BITS_PER_LONG) & 1;
}

typedef struct { int counter; } refcount_t;

#define refcount_set(r, n)		at_atomic_set(AT_ATOMIC(r), n, AT_HERE)
#define refcount_read(r)		((int)at_atomic_read(AT_ATOMIC(r), AT_HERE))
#define refcount_inc(r)			at_refcount_inc(&(r)->counter, #r, AT_HERE)
#define refcount_inc_not_zero(r)	at_refcount_inc_not_zero(&(r)->counter, #r, AT_HERE)
#define refcount_dec(r)			((void)refcount_dec_and_test(r))
#define refcount_dec_and_test(r)	at_refcount_dec_and_test(&(r)->counter, #r, AT_HERE)

struct kref {
	refcount_t refcount;
};

#define kref_init(k)			refcount_set(&(k)->refcount, 1)
#define kref_get(k)			refcount_inc(&(k)->refcount)
#define kref_read(k)			refcount_read(&(k)->refcount)
#define kref_get_unless_zero(k)		refcount_inc_not_zero(&(k)->refcount)
#define kref_put(k, release) ({						\
	struct kref *_kref = (k);					\
	bool _last = refcount_dec_and_test(&_kref->refcount);		\
	if (_last)							\
		release(_kref);						\
	_last; })

#endif
