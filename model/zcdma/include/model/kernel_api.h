/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the stand-ins of the kernel's headers call: the scheduler, behind a C
 * interface.  Implemented in kernel.cpp and memory.cpp; plain accesses arrive
 * by the compiler's -fsanitize=thread calls instead.
 */
#ifndef MODEL_KERNEL_API_H
#define MODEL_KERNEL_API_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AT_HERE		__FILE__, __LINE__
#define AT_WHERE	const char *file, unsigned int line
#define AT_PASS		file, line

/* marked accesses and barriers */
void at_marked_read(const volatile void *at, size_t bytes, const char *name, AT_WHERE);
void at_marked_write(volatile void *at, size_t bytes, const char *name, AT_WHERE);
void at_wrote(volatile void *at);
void at_released(volatile void *at);	/* the write before was a store-release */
void at_mb(void);
void at_wmb(void);
void at_rmb(void);

/* atomics: `bytes` is 4 or 8 */
long at_atomic_read(const void *at, size_t bytes, const char *name, AT_WHERE);
long at_atomic_read_acquire(const void *at, size_t bytes, const char *name, AT_WHERE);
void at_atomic_set(void *at, size_t bytes, const char *name, long value, AT_WHERE);
void at_atomic_add(void *at, size_t bytes, const char *name, long value, AT_WHERE);
long at_atomic_fetch_add(void *at, size_t bytes, const char *name, long value, AT_WHERE);
long at_atomic_xchg(void *at, size_t bytes, const char *name, long value, AT_WHERE);
long at_atomic_cmpxchg(void *at, size_t bytes, const char *name, long expected, long desired, AT_WHERE);
bool at_test_and_change_bit(long n, void *at, const char *name, int value, AT_WHERE);
void at_refcount_inc(int *at, const char *name, AT_WHERE);
bool at_refcount_inc_not_zero(int *at, const char *name, AT_WHERE);
bool at_refcount_dec_and_test(int *at, const char *name, AT_WHERE);

/* locks; `at` is the kernel's object, `name` the text of the initialisation */
struct at_lock *at_lock_init(void *at, const char *name);
void at_spin_lock(struct at_lock *lock, AT_WHERE);
void at_spin_unlock(struct at_lock *lock, AT_WHERE);
void at_spin_lock_irq(struct at_lock *lock, AT_WHERE);
void at_spin_unlock_irq(struct at_lock *lock, AT_WHERE);
unsigned long at_spin_lock_irqsave(struct at_lock *lock, AT_WHERE);
void at_spin_unlock_irqrestore(struct at_lock *lock, unsigned long flags, AT_WHERE);
bool at_spin_trylock(struct at_lock *lock, AT_WHERE);
bool at_spin_trylock_irq(struct at_lock *lock, AT_WHERE);
void at_assert_held(struct at_lock *lock, AT_WHERE);
struct at_rwsem *at_rwsem_init(void *at, const char *name);
void at_down_read(struct at_rwsem *sem, AT_WHERE);
bool at_down_read_trylock(struct at_rwsem *sem, AT_WHERE);
void at_up_read(struct at_rwsem *sem, AT_WHERE);
void at_down_write(struct at_rwsem *sem, AT_WHERE);
void at_up_write(struct at_rwsem *sem, AT_WHERE);

/* waiting */
void at_might_sleep(AT_WHERE);
struct at_waitqueue *at_waitqueue_init(void *at, const char *name);
void at_prepare_to_wait(struct at_waitqueue *queue, AT_WHERE);
void at_schedule(struct at_waitqueue *queue, AT_WHERE);
void at_finish_wait(struct at_waitqueue *queue, AT_WHERE);
void at_wake_up(struct at_waitqueue *queue, AT_WHERE);
bool at_waitqueue_active(struct at_waitqueue *queue, AT_WHERE);
void at_bound_is_long(unsigned long timeout_jiffies, AT_WHERE);
struct at_completion *at_completion_init(void *at, const char *name);
void at_reinit_completion(struct at_completion *completion, AT_WHERE);
void at_complete(struct at_completion *completion, AT_WHERE);
void at_complete_all(struct at_completion *completion, AT_WHERE);
void at_wait_for_completion(struct at_completion *completion, AT_WHERE);
unsigned long at_wait_for_completion_timeout(struct at_completion *completion,
					     unsigned long timeout_jiffies, AT_WHERE);

/* time and what happens later */
struct timer_list;
struct hrtimer;
struct work_struct;
struct at_csd;
struct workqueue_struct;
long long at_now_ns(void);
void at_sleep_us(unsigned long us, AT_WHERE);
void at_cpu_relax(AT_WHERE);
struct at_timer *at_timer_init(struct timer_list *timer, void (*function)(struct timer_list *),
			       const char *name);
int at_mod_timer(struct at_timer *timer, unsigned long at_jiffies, AT_WHERE);
int at_del_timer(struct at_timer *timer, AT_WHERE);
int at_del_timer_sync(struct at_timer *timer, AT_WHERE);
struct at_timer *at_hrtimer_init(struct hrtimer *timer, const char *name);
void at_hrtimer_start(struct at_timer *timer, long long at_ns, AT_WHERE);
int at_hrtimer_cancel(struct at_timer *timer, AT_WHERE);
bool at_hrtimer_is_queued(struct at_timer *timer, AT_WHERE);
struct at_work *at_work_init(struct work_struct *work, void (*function)(struct work_struct *),
			     const char *name);
struct workqueue_struct *at_alloc_workqueue(AT_WHERE);
void at_destroy_workqueue(struct workqueue_struct *wq, AT_WHERE);
bool at_queue_work(struct workqueue_struct *wq, struct at_work *work, AT_WHERE);
bool at_flush_work(struct at_work *work, AT_WHERE);
bool at_work_busy(struct at_work *work, AT_WHERE);
bool at_cancel_work_sync(struct at_work *work, AT_WHERE);
int at_call_single_async(struct at_csd *csd, AT_WHERE);
void at_rcu_read_lock(AT_WHERE);
void at_rcu_read_unlock(AT_WHERE);
void at_synchronize_rcu(AT_WHERE);
void at_call_rcu(void *at, void (*function)(void *at), const char *name, AT_WHERE);

/* memory */
struct kmem_cache *at_cache_create(const char *name, size_t bytes);
void at_cache_destroy(struct kmem_cache *cache, AT_WHERE);
void *at_cache_alloc(struct kmem_cache *cache, unsigned int gfp, AT_WHERE);
void at_cache_free(struct kmem_cache *cache, void *at, AT_WHERE);
void *at_kmalloc(size_t bytes, const char *name, unsigned int gfp, bool zero, AT_WHERE);
void at_kfree(const void *at, AT_WHERE);
void *at_vzalloc(size_t bytes, const char *name, AT_WHERE);
void at_vfree(const void *at, AT_WHERE);
void *at_dma_alloc(size_t bytes, unsigned long long *bus, unsigned int gfp, AT_WHERE);
bool at_allocation_fails(const char *what, AT_WHERE);
void *at_memset(void *at, int byte, size_t bytes);
void *at_memcpy(void *to, const void *from, size_t bytes);

/* user pages */
struct page;
unsigned long long at_page_to_phys(struct page *page);
int at_pin_user_pages(unsigned long address, int n, unsigned int gup_flags, struct page **pages,
		      AT_WHERE);
void at_unpin_user_pages(struct page **pages, unsigned long n, AT_WHERE);
bool at_page_dirty(struct page *page);
void at_set_page_dirty_lock(struct page *page, AT_WHERE);
void at_page_map(struct page *page, bool device_writes, AT_WHERE);
void at_page_unmap(struct page *page, bool device_writes, AT_WHERE);

/* what the kernel would print */
void at_warning(const char *function, const char *what, AT_WHERE);
void at_remark(AT_WHERE, const char *format, ...) __attribute__((format(printf, 3, 4)));
void at_list_corrupt(const char *what, AT_WHERE);
void at_books_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* the module, by its constructors; what is loaded last counts */
void at_module_init(int (*init)(void));
void at_module_exit(void (*exit)(void));
void at_module_param(const char *name, void *variable, const char *type);

/* the model injector: one of the actions in the mask, or 0, by the scheduler's choice */
unsigned int at_choose_fault(unsigned int actions, unsigned int phase, unsigned long long *random);
void at_fault_fired(unsigned int action);
void at_reached(unsigned int phase, unsigned int slot);

/* fs/aio.c of the model reports to the ledger */
void at_ledger_event(unsigned long long obj, long result, AT_WHERE);

#ifdef __cplusplus
}
#endif
#endif
