/* SPDX-License-Identifier: GPL-2.0 */
/* Spinlocks, read-write semaphores and mutexes: the scheduler's, behind the kernel's names */
#ifndef MODEL_LINUX_SPINLOCK_H
#define MODEL_LINUX_SPINLOCK_H

#include <linux/types.h>

typedef struct spinlock {
	struct at_lock *lock;
} spinlock_t;

#define spin_lock_init(l)		((l)->lock = at_lock_init(l, #l))
#define spin_lock(l)			at_spin_lock((l)->lock, AT_HERE)
#define spin_unlock(l)			at_spin_unlock((l)->lock, AT_HERE)
#define spin_lock_irq(l)		at_spin_lock_irq((l)->lock, AT_HERE)
#define spin_unlock_irq(l)		at_spin_unlock_irq((l)->lock, AT_HERE)
#define spin_lock_irqsave(l, flags)	((flags) = at_spin_lock_irqsave((l)->lock, AT_HERE))
#define spin_unlock_irqrestore(l, flags) at_spin_unlock_irqrestore((l)->lock, flags, AT_HERE)
/* no softirq is kept out apart from interrupts */
#define spin_lock_bh(l)			spin_lock(l)
#define spin_unlock_bh(l)		spin_unlock(l)
#define spin_trylock(l)			at_spin_trylock((l)->lock, AT_HERE)
#define spin_trylock_irqsave(l, flags)	({				\
	(flags) = 0;							\
	at_spin_trylock_irq((l)->lock, AT_HERE); })
#define spin_is_locked(l)		((void)(l), true) /* nobody asks: see lockdep_assert_held() */
#define irqs_disabled()			true /* nobody waits for time to pass */
#define lockdep_assert_held(l)		at_assert_held((l)->lock, AT_HERE)

struct rw_semaphore {
	struct at_rwsem *sem;
};

#define init_rwsem(s)			((s)->sem = at_rwsem_init(s, #s))
#define down_read(s)			at_down_read((s)->sem, AT_HERE)
#define down_read_killable(s)		(at_down_read((s)->sem, AT_HERE), 0)
#define down_read_trylock(s)		at_down_read_trylock((s)->sem, AT_HERE)
#define up_read(s)			at_up_read((s)->sem, AT_HERE)
#define rwsem_is_locked(s)		((void)(s), false) /* nobody asks */
#define down_write(s)			at_down_write((s)->sem, AT_HERE)
#define down_write_killable(s)		(down_write(s), 0)
#define up_write(s)			at_up_write((s)->sem, AT_HERE)

struct mutex {
	struct at_rwsem *sem;
};

#define mutex_init(m)			((m)->sem = at_rwsem_init(m, #m))
#define mutex_lock(m)			at_down_write((m)->sem, AT_HERE)
#define mutex_unlock(m)			at_up_write((m)->sem, AT_HERE)

#endif
