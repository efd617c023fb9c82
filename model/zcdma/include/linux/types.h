/* SPDX-License-Identifier: GPL-2.0 */
/* Types, compiler words and small macros of the kernel, for the model's C */
#ifdef __cplusplus
#include_next <linux/types.h>	/* the core reads fault/ as user space does */
#elif !defined(MODEL_LINUX_TYPES_H)
#define MODEL_LINUX_TYPES_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "model/kernel_api.h"

typedef uint8_t u8, __u8;
typedef uint16_t u16, __u16;
typedef uint32_t u32, __u32, __le32;
typedef unsigned long long u64, __u64, __le64;
typedef int32_t s32, __s32;
typedef long long s64, __s64;
typedef u64 dma_addr_t, phys_addr_t;
typedef unsigned int gfp_t, fmode_t, __poll_t;
typedef unsigned short umode_t;

struct list_head {
	struct list_head *next, *prev;
};

#define __user
#define __rcu
#define __init
#define __exit
#define __maybe_unused		__attribute__((unused))
#undef __always_inline
#define __always_inline		inline __attribute__((always_inline))
#define noinline		__attribute__((noinline))
#define __cold			__attribute__((cold))
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define BIT(n)			(1UL << (n))
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#define min(a, b)		({ __auto_type _a = (a); __auto_type _b = (b); _a < _b ? _a : _b; })
#define max(a, b)		({ __auto_type _a = (a); __auto_type _b = (b); _a > _b ? _a : _b; })
#define min_t(type, a, b)	min((type)(a), (type)(b))
#define max_t(type, a, b)	max((type)(a), (type)(b))
#define clamp(v, lo, hi)	min(max(v, lo), hi)
#define round_up(n, to)		(DIV_ROUND_UP(n, to) * (to))
#define round_down(n, to)	((n) / (to) * (to))
#define IS_ALIGNED(n, to)	((n) % (to) == 0)
#define clamp_t(type, v, lo, hi) min_t(type, max_t(type, v, lo), hi)
#define cpu_to_le32(x)		((__le32)(x))
#define cpu_to_le64(x)		((__le64)(x))
#define le32_to_cpu(x)		((u32)(x))
#define le64_to_cpu(x)		((u64)(x))
#define lower_32_bits(n)	((u32)(n))
#define upper_32_bits(n)	((u32)((n) >> 32))
#define is_power_of_2(n)	((n) != 0 && ((n) & ((n) - 1)) == 0)

#define MAX_ERRNO		4095
#define ERR_PTR(err)		((void *)(long)(err))
#define PTR_ERR(ptr)		((long)(ptr))
#define IS_ERR(ptr)		((unsigned long)(ptr) >= (unsigned long)-MAX_ERRNO)
#define IS_ERR_OR_NULL(ptr)	(!(ptr) || IS_ERR(ptr))
/* what the kernel has beside the errnos of user space */
#define EIOCBQUEUED		529

/* A marked access: a point, and no race with another marked one. */
#define READ_ONCE(x) ({							\
	at_marked_read(&(x), sizeof(x), #x, AT_HERE);			\
	*(const volatile __typeof__(x) *)&(x); })
#define WRITE_ONCE(x, value) do {					\
	__typeof__(x) _value = (value);					\
	at_marked_write(&(x), sizeof(x), #x, AT_HERE);			\
	*(volatile __typeof__(x) *)&(x) = _value;			\
	at_wrote(&(x));							\
} while (0)
#define smp_load_acquire(p) ({						\
	__typeof__(*(p)) _value = READ_ONCE(*(p));			\
	at_rmb();							\
	_value; })
#define smp_store_release(p, value) do {				\
	WRITE_ONCE(*(p), value);					\
	at_released(p);							\
} while (0)
#define smp_mb()		at_mb()
#define mb()			at_mb()
#define smp_mb__before_atomic()	at_mb()
#define smp_mb__after_atomic()	at_mb()
#define wmb()			at_wmb()
#define smp_wmb()		at_wmb()
#define rmb()			at_rmb()
#define smp_rmb()		at_rmb()
#define dma_wmb()		at_wmb()
#define dma_rmb()		at_rmb()

/* A warning is a finding, once in a schedule for each place. */
#define WARN_ON(condition) ({						\
	bool _warns = !!(condition);					\
	if (unlikely(_warns))						\
		at_warning(__func__, #condition, AT_HERE);		\
	unlikely(_warns); })
#define BUG_ON(condition)	((void)WARN_ON(condition))
#define WARN_ON_ONCE(condition)	WARN_ON(condition)
#define WARN_ONCE(condition, format, ...) ({				\
	bool _warns = !!(condition);					\
	if (unlikely(_warns)) {						\
		at_remark(AT_HERE, format, ##__VA_ARGS__);		\
		at_warning(__func__, format, AT_HERE);			\
	}								\
	unlikely(_warns); })
#define pr_warn(format, ...)	at_warning(__func__, format, AT_HERE)
#define pr_err(format, ...)	at_warning(__func__, format, AT_HERE)
#define pr_debug(format, ...)	do { } while (0)
#define dev_err(dev, format, ...)	at_warning(__func__, format, AT_HERE)
#define dev_warn_ratelimited	dev_warn
#define dev_dbg(dev, format, ...)	do { } while (0)
#define dev_warn(dev, format, ...) at_warning(__func__, format, AT_HERE)

/* linux/string.h: what the compiler must not expand unseen */
#define memset(p, c, n)		at_memset(p, c, n)
#define memcpy(d, s, n)		at_memcpy(d, s, n)

#endif
