"""What kernel reports look like: one rule a family, the frames to look through, the benign lines.

The patterns follow the kernel's own printk formats from 5.10 to 7.x; where a format changed, both
forms stand in one pattern. A line is matched without its time stamp and caller prefix. The tests
are the consoles in tests/data/console: a new form of report is a new file there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Weight(IntEnum):
    """How far a report can explain the reports that follow it."""

    NOTICE = 0
    """Says what is wrong and goes on: a WARN, a lock order, a leak."""
    STALL = 1
    """Somebody waits or spins: others soon wait for him."""
    CORRUPTS = 2
    """Memory, a count or a list is no longer what it was."""
    DIES = 3
    """A task or the kernel died, with whatever it held."""


class Blame(IntEnum):
    """Which frame of a report names the cause."""

    INNERMOST = 0
    """RIP, else the first call trace."""
    FREED = 1
    """Who freed the object, else who allocated it: the call trace is an innocent passer-by."""
    ALLOCATED = 2
    """Who allocated the object."""
    TEXT = 3
    """The function that the report's first lines name; else the innermost frame."""
    NOBODY = 4
    """None: whoever runs when it is noticed has nothing to do with it."""


@dataclass(frozen=True)
class Rule:
    """One family of reports.

    `start`: the line that opens it. `title`: `{frame}` is the frame to blame, `{name}` a group of
    the pattern. `carried`: the report's text comes first and a WARNING or kernel BUG line carries
    it. `lockup`: a starved host can cause it alone. `compact`: a few lines without a call trace.
    """

    kind: str
    start: re.Pattern[str]
    title: str
    oracle: str = "kernel-log"
    weight: Weight = Weight.NOTICE
    blame: Blame = Blame.INNERMOST
    carried: bool = False
    lockup: bool = False
    compact: bool = False


def _rule(
    kind: str,
    start: str,
    title: str,
    weight: Weight = Weight.NOTICE,
    *,
    oracle: str = "kernel-log",
    blame: Blame = Blame.INNERMOST,
    carried: bool = False,
    lockup: bool = False,
    compact: bool = False,
) -> Rule:
    pattern = re.compile(start)
    return Rule(kind, pattern, title, oracle, weight, blame, carried, lockup, compact)


_FUNCTION = r"(?P<function>[A-Za-z_][\w.]*)(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?"

# The functions of fs/aio.c.
AIO_CORE = re.compile(
    r"(?:aio_\w+|(?:do_)?io_(?:setup|submit|submit_one|cancel|destroy|p?getevents)|exit_aio|put_aio_ring_file"
    r"|lookup_ioctx|kill_ioctx|free_ioctx\w*|ioctx_\w+|iocb_(?:put|destroy)|kiocb_set_cancel_fn|poll_iocb_\w+"
    r"|read_events|\w*(?:get|put|refill)_reqs?_available\w*)$"
)
# What accesses memory in its caller's name. Not who sleeps for it: the sleeper's own fields are the kernel's.
HELPERS = re.compile(
    r"_*(?:h?list|llist)_\w+|_*mem(?:cpy|set|move|cmp)\w*|_*copy_\w+|_*(?:arch_)?atomic\w*|_*refcount_\w+|_*kref_\w+"
    r"|_*bitmap_\w+|_*(?:set|clear|test)\w*_bit\w*|_*find_\w+_bit|_*tsan_\w+|kcsan_\w+|_*sg_\w+|iov_iter_\w+"
)
# Modules through which a guest talks to its host: no code under test.
PORT_MODULES = re.compile(r"virtio")

_SANITIZERS = (
    _rule(
        "kasan",
        rf"^BUG: KASAN: (?P<what>[\w-]+(?: or [\w-]+)?) (?:in|on address) {_FUNCTION}",
        "KASAN: {what}{access} in {frame}",
        Weight.CORRUPTS,
        oracle="sanitizer",
        blame=Blame.TEXT,
    ),
    _rule(
        "kcsan",
        r"^BUG: KCSAN: (?P<what>[\w-]+) in (?P<first>[\w.]+)(?: / (?P<second>[\w.]+))?",
        "KCSAN: {what} in {pair}",
        oracle="sanitizer",
    ),
    _rule(
        "kmsan",
        rf"^BUG: KMSAN: (?P<what>[\w-]+) in {_FUNCTION}",
        "KMSAN: {what} in {frame}",
        oracle="sanitizer",
        blame=Blame.TEXT,
    ),
    _rule(
        "kfence",
        rf"^BUG: KFENCE: (?P<what>[\w -]+?) in {_FUNCTION}",
        "KFENCE: {what} in {frame}",
        Weight.CORRUPTS,
        oracle="sanitizer",
        blame=Blame.TEXT,
    ),
    _rule(
        "ubsan",
        r"^UBSAN: (?P<what>[\w-]+) in \S+",
        "UBSAN: {what} in {frame}",
        oracle="sanitizer",
    ),
    _rule(
        "kmemleak",
        r"^(?:unreferenced object 0x[0-9a-f]+ \(size|kmemleak: \d+ new suspected memory leaks)",
        "memory leak in {frame}",
        oracle="leak",
        compact=True,
    ),
)

_CORRUPTION = (
    _rule(
        "refcount",
        r"^refcount_t: (?P<what>addition on 0|underflow|saturated|decrement hit 0)\b",
        "refcount_t: {what} in {frame}",
        Weight.CORRUPTS,
        carried=True,
    ),
    _rule(
        "list",
        r"^(?P<what>list_(?:add|del)) (?:corruption|double add)",
        "{what} corruption in {frame}",
        Weight.CORRUPTS,
        carried=True,
    ),
    _rule(
        "slab",
        r"^BUG (?P<cache>[\w.:-]+) \((?:Tainted|Not tainted)[^)]*\): "
        r"(?P<what>Poison overwritten|Object already free|Wrong object count|"
        r"(?:(?:Right|Left) )?Redzone overwritten|Invalid object pointer|Freechain corrupt|"
        r"Freepointer corrupt|Object padding overwritten|Alloc(?:ated)? padding overwritten|"
        r"End Padding overwritten|Padding overwritten|Objects remaining|"
        r"Slab has \d+ allocated objects but|Attempt to free|[A-Z][a-z]+(?: [a-z]+)*)",
        "slab {cache}: {what} in {frame}",
        Weight.CORRUPTS,
        blame=Blame.FREED,
    ),
    _rule(
        "usercopy",
        r"^usercopy: Kernel memory (?P<what>exposure|overwrite) attempt detected",
        "usercopy: {what} in {frame}",
        carried=True,
    ),
    _rule(
        "bad-page",
        r"^BUG: Bad page (?P<what>state|map|cache)\b",
        "BUG: Bad page {what}: {dumped}",
        Weight.CORRUPTS,
        blame=Blame.NOBODY,
    ),
    _rule(
        "bad-mm",
        r"^BUG: (?P<what>Bad rss-counter state|non-zero pgtables_bytes on freeing mm)",
        "BUG: {what}",
        Weight.CORRUPTS,
        blame=Blame.NOBODY,
        compact=True,
    ),
    _rule(
        "fortify",
        r"^(?:detected buffer overflow in (?P<what>\w+)|(?P<string>\w+): detected buffer "
        r"(?:overflow|overread))",
        "buffer overflow in {frame}",
        Weight.DIES,
        carried=True,
    ),
    _rule(
        "stack-end",
        r"^BUG: (?P<what>stack guard page was hit|\w+ stack guard page was hit|"
        r"kernel stack overflow)|^kernel stack overflow|"
        r"^(?:Thread|Task) overran stack",
        "kernel stack overflow in {frame}",
        Weight.DIES,
    ),
    _rule(
        "debugobjects",
        r"^ODEBUG: (?P<what>[\w ]+?) \(active state .*object type: (?P<object>\w+)",
        "ODEBUG: {what} {object} in {frame}",
        Weight.CORRUPTS,
        carried=True,
    ),
    _rule(
        "file-count",
        r"^VFS: (?P<what>Close|CLOSE): file count is (?:0|zero)",
        "VFS: close of a file with no reference in {frame}",
        Weight.CORRUPTS,
        carried=True,
    ),
)

_DEATHS = (
    _rule(
        "null-deref",
        r"^(?:BUG: (?:unable to handle )?kernel NULL pointer dereference|"
        r"Unable to handle kernel NULL pointer dereference)",
        "BUG: unable to handle kernel NULL pointer dereference in {frame}",
        Weight.DIES,
    ),
    _rule(
        "page-fault",
        r"^(?:BUG: unable to handle (?:page fault for address|kernel paging request)|"
        r"Unable to handle kernel (?:paging request|access to user memory|read from|write to))",
        "BUG: unable to handle page fault in {frame}",
        Weight.DIES,
    ),
    _rule(
        "gpf",
        r"^general protection (?:fault|exception)(?:, [\w -]+)?(?: for non-canonical address "
        r"0x[0-9a-f]+)?(?:, [^:]*)?: [0-9a-f]{4} \[#\d+\]",
        "general protection fault in {frame}",
        Weight.DIES,
    ),
    _rule("kernel-bug", r"^kernel BUG at \S+", "kernel BUG in {frame}", Weight.DIES),
    _rule(
        "trap",
        r"^(?:Oops: )?(?P<what>divide error|invalid opcode|int3|stack segment|bounds|"
        r"alignment check|double fault|coprocessor error|control protection fault|"
        r"simd exception)(?:, [\w -]+)?: [0-9a-f]{4} \[#\d+\]",
        "{what} in {frame}",
        Weight.DIES,
    ),
    _rule(
        "double-fault",
        r"^(?:traps: )?PANIC: double fault",
        "double fault in {frame}",
        Weight.DIES,
    ),
    _rule(
        "oops",
        r"^(?:Oops|Internal error)(?:: [\w -]+)?: [0-9a-f]{4,16} \[#\d+\]",
        "Oops in {frame}",
        Weight.DIES,
    ),
    _rule(
        "stack-protector",
        r"^Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: "
        rf"{_FUNCTION}",
        "stack corruption in {frame}",
        Weight.DIES,
        blame=Blame.TEXT,
    ),
    _rule(
        "panic",
        r"^Kernel panic - not syncing: (?P<what>.*)",
        "kernel panic: {what}",
        Weight.DIES,
    ),
)

_LOCKING = (
    _rule(
        "lockdep-deadlock",
        r"^(?:WARNING: )?(?:\[ )?(?:INFO: )?(?:possible (?P<what>circular locking dependency|"
        r"recursive locking|irq lock inversion dependency)|"
        r"(?:HARDIRQ|SOFTIRQ)\S* -> (?:HARDIRQ|SOFTIRQ)\S* lock order) detected",
        "possible deadlock in {frame}",
    ),
    _rule(
        "lockdep-state",
        r"^(?:WARNING: )?(?:\[ )?(?:INFO: )?inconsistent lock state",
        "inconsistent lock state in {frame}",
    ),
    _rule(
        "lockdep-misuse",
        r"^(?:WARNING: |\[ BUG: |BUG: )(?P<what>held lock freed|bad unlock balance detected|"
        r"bad contention detected|lock held when returning to user space|"
        r"Nested lock was not taken|suspicious RCU usage|Invalid wait context|"
        r"workqueue leaked (?:lock or )?atomic)",
        "WARNING: {what} in {frame}",
    ),
    _rule(
        "lockdep-held",
        r"^(?:WARNING: )?\S+/\d+ still has locks held!",
        "WARNING: locks held at exit in {frame}",
    ),
    _rule(
        "lockdep-key",
        r"^INFO: trying to register non-static key",
        "INFO: trying to register non-static key in {frame}",
    ),
    _rule(
        "spinlock",
        r"^BUG: (?P<what>(?:spin|rw)lock (?:bad magic|already unlocked|wrong owner|wrong CPU|"
        r"recursion|trylock failure on UP|lockup suspected|cpu recursion)|sleeping lock)",
        "BUG: {what} in {frame}",
        Weight.CORRUPTS,
    ),
    _rule(
        "sleep-in-atomic",
        r"^BUG: sleeping function called from invalid context",
        "BUG: sleeping function called from invalid context in {frame}",
    ),
    _rule(
        "schedule-in-atomic",
        r"^(?:BUG: )?scheduling while atomic",
        "BUG: scheduling while atomic in {frame}",
        Weight.CORRUPTS,
    ),
    _rule(
        "preemptible",
        r"^BUG: using (?P<what>\w+\(\)) in preemptible",
        "BUG: using {what} in preemptible code in {frame}",
    ),
)

_STALLS = (
    _rule(
        "soft-lockup",
        r"^(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck for",
        "BUG: soft lockup in {frame}",
        Weight.STALL,
        lockup=True,
    ),
    _rule(
        "hard-lockup",
        r"^(?:NMI )?(?:watchdog: )?(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu",
        "hard lockup in {frame}",
        Weight.STALL,
        lockup=True,
    ),
    _rule(
        "hung-task",
        r"^INFO: task \S+:\d+ blocked (?:in I/O wait )?for more than \d+ seconds",
        "INFO: task hung in {frame}",
        Weight.STALL,
        lockup=True,
    ),
    _rule(
        "rcu-stall",
        r"^(?:rcu: )?INFO: (?:rcu_\w+|\w+_rcu) (?:self-)?detected (?:expedited )?stalls? on",
        "INFO: rcu stall in {frame}",
        Weight.STALL,
        lockup=True,
    ),
    _rule(
        "workqueue-lockup",
        r"^(?:workqueue: )?BUG: workqueue lockup - pool",
        "BUG: workqueue lockup in {work}",
        Weight.STALL,
        lockup=True,
    ),
)

_DEVICES = (
    _rule(
        "dma-api",
        r"^(?:DMA-API: )(?:\S+ \S+: )?(?P<what>(?:device driver|mapping sg|exceeded \d+ overlap|"
        r"cacheline tracking)[^\[0-9]*)",
        "DMA-API: {what} in {frame}",
        carried=True,
    ),
    _rule(
        "iommu",
        r"^(?:DMAR: \[?DMA (?P<access>Read|Write)[^\]]*\].*fault (?:addr|reason).*"
        r"(?:fault reason (?:0x)?[0-9a-f]+\] ?)(?P<what>.*)|"
        r"(?:\S+ \S+: )?AMD-Vi: Event logged \[(?P<event>IO_PAGE_FAULT))",
        "IOMMU fault: {fault}",
        Weight.CORRUPTS,
        blame=Blame.NOBODY,
        compact=True,
    ),
    # what zcdma's engines say of a driver that breaks their contract (driver/zcdma_told.h)
    _rule(
        "device-told",
        r"^zcdma: the device (?P<what>.+)",
        "the device {what} in {frame}",
        oracle="contract",
        carried=True,
    ),
    # and what zcdma says of its own use of what a lock guards (driver/zcdma_guard.h)
    _rule(
        "unguarded",
        r"^zcdma: (?P<what>a \w+ is \w+ (?:without|where) .+|a time-out is moved)",
        "{what} in {frame}",
        oracle="contract",
        carried=True,
    ),
    _rule(
        "irq-storm",
        r"^irq \d+: nobody cared",
        "irq: nobody cared",
        blame=Blame.NOBODY,
    ),
    _rule(
        "allocation",
        r"^\S+: page allocation (?:failure|stalls)",
        "page allocation failure in {frame}",
    ),
    # what our driver says when its wait for the last request reached its bound
    _rule(
        "not-drained",
        r"^zcdma(?: \S+)?: (?P<what>closed|removed) with \d+ requests alive",
        "zcdma: {what} with requests alive",
        blame=Blame.NOBODY,
        lockup=True,
        compact=True,
    ),
    _rule(
        "sysfs-duplicate",
        r"^sysfs: cannot create duplicate filename",
        "sysfs: duplicate filename in {frame}",
    ),
)

_PLAIN = (
    _rule(
        "warning",
        r"^WARNING: (?:CPU: \d+ PID: \d+ )?(?:at )?(?:(?P<file>\S+):\d+ )?(?:at )?"
        r"(?P<function>[A-Za-z_][\w.]*)\+0x",
        "WARNING in {frame}",
    ),
    _rule(
        "unrecognised",
        r"^(?:BUG|WARNING|\[ BUG): (?P<what>.*)",
        "unrecognised kernel report: {what}",
        compact=True,
    ),
)

RULES: tuple[Rule, ...] = (
    *_SANITIZERS,
    *_CORRUPTION,
    *_DEATHS,
    *_LOCKING,
    *_STALLS,
    *_DEVICES,
    *_PLAIN,
)

CARRIERS = re.compile(
    r"^(?:WARNING: (?:CPU: |\S+:\d+ at |at )|kernel BUG at |invalid opcode: |Oops: invalid opcode: |"
    r"Oops: \w+ |Oops: [0-9a-f]{4} |Internal error: |KASAN: |double fault: |stack guard page: )"
)
"""Lines that carry a report whose text came first, or its oops line: no report of their own."""

END = re.compile(
    r"^(?:---\[ end (?:trace|Kernel panic)|={60,}$|Kernel Offset: |Rebooting in )"
)  # fmt: skip
CUT = re.compile(r"^-+\[ cut here \]-+$")
RULER = re.compile(r"^[=-]{30,}$")

BODY = re.compile(
    r"^(?:\s|$|RIP: |Code: |[ER][A-Z0-9]{1,3}: |FS: |CS: |CR[0-9]|DR[0-9]|PKRU: |Call [Tt]race|"
    r"</?[A-Z]+>|Modules linked in|Unloaded tainted|Hardware name|CPU: |PGD |#PF: |Oops|Workqueue: |"
    r"Tainted: |---\[|===|---|note: |FIX |Object |Redzone |Padding |Bytes |Freed |Allocated |"
    r"Slab |INFO: (?:Allocated|Freed|Slab|Object|0x)|0x[0-9a-f]+|Disabling lock debugging|NMI |"
    r"Sending NMI|rcu: |INFO: lockdep|INFO: task \S+ is blocked on|Showing |\d+ locks? held|\d+ lock|"
    r"#\d+: |\"echo 0|task:|Preemption disabled|softirqs? |hardirqs? |irq event stamp|in_atomic|"
    r"preempt_count|RCU nest|other info|stack backtrace|the |and |but |which |-> |\*\*\*|addr |"
    r"Write of|Read of|The buggy|Memory state|>|page|raw: |flags: |head: |pc : |lr : |sp : |x\d+|"
    r"pstate: |Mem abort|ESR|Mem-Info|Node |lowmem|active_anon|handlers:|\[<|kthread starved|"
    r"workqueue |pool |\(t=|last function|use-after-free|turning off|Exception|SET =|EC =|Dumping)"
)
"""Lines that can belong to a report once its call trace has begun."""

_PREEMPT_TRAMPOLINES = (
    r"asm_\w+|sysvec_\w+|common_interrupt|ret_from_\w+|entry_\w+|do_syscall_\w+|x64_sys_call|"
    r"syscall_\w+|exit_to_user_mode\w*|"
    r"el0\w*|el1\w*|invoke_syscall\w*|"
    r"kthread|worker_thread|process_one_work|process_scheduled_works|ret_from_fork\w*|"
    r"__run_timers|run_timer_\w+|call_timer_fn|expire_timers|__run_timer_base|"
    r"__hrtimer_run_queues|hrtimer_run_\w+|hrtimer_interrupt|tick_\w+|__sysvec_\w+|"
    r"handle_softirqs|__do_softirq|do_softirq\w*|irq_exit_rcu|__irq_exit_rcu|irq_exit|"
    r"local_apic_timer_interrupt|__handle_irq_event_percpu|handle_irq_event\w*|handle_\w+_irq|"
    r"generic_handle_\w+|do_IRQ|irq_work_run\w*|irq_work_single|rcu_core\w*|rcu_do_batch|"
    r"do_one_initcall|do_init_module|load_module|init_module_from_file|idempotent_init_module|"
    r"secondary_startup\w*|start_secondary|cpu_startup_entry|do_idle|start_kernel|rest_init|"
    r"smpboot_thread_fn|invoke_syscall|task_work_run|__run_exit_handlers"
)

_LOCK_INTERNALS = (
    r"_raw_(?:spin|read|write)_\w+|__raw_\w+|(?:native_|pv_|__pv_)?queued_\w+|rt_spin_\w+|"
    r"do_raw_\w+|spin_\w+|lock_acquire\w*|lock_release\w*|__lock_\w+|lock_\w+_nested|"
    r"validate_chain\w*|check_\w*(?:lock|noncircular|prev|deadlock|wait_context|irq)\w*|mark_\w+|"
    r"print_\w+|register_lock_class|lockdep_\w+|debug_check_no_\w+|valid_state|save_trace|"
    r"_*might_\w+|__schedule\w*|schedule\w*|preempt_schedule\w*|io_schedule\w*|"
    r"_?_?wait_for_common\w*|wait_for_completion\w*|__mutex_\w+|mutex_\w+|rwsem_\w+|"
    r"down_\w+|__down\w*|up_\w+|down|msleep\w*|usleep\w*|prepare_to_wait\w*|bit_wait\w*|"
    r"__wait_on_bit\w*|out_of_line_wait\w*|wait_on_bit\w*|rt_mutex_\w+|__rt_mutex_\w+|"
    r"rtlock_\w+|do_wait_for_common|preempt_count_\w+|context_switch|__switch_to\w*|"
    r"percpu_rwsem_\w+|percpu_down_\w+"
)

_REPORTERS = (
    r"refcount_\w+|__refcount_\w+|__list_(?:add|del)\w*|list_(?:add|del|move)\w*|"
    r"__warn\w*|report_bug|handle_bug|warn_slowpath\w*|exc_\w+|do_error_trap|do_trap|"
    r"dump_stack\w*|__dump_stack|show_stack|show_trace\w*|show_regs|dump_\w+|"
    r"kasan_\w+|__kasan_\w+|__asan_\w+|__hwasan_\w+|kmsan_\w+|__msan_\w+|kcsan_\w+|__tsan_\w+|"
    r"print_report|print_address_description\w*|kfence_\w+|__kfence_\w+|ubsan_\w+|__ubsan_\w+|"
    r"memcpy\w*|__memcpy\w*|memset\w*|__memset\w*|memmove\w*|__memmove\w*|memcmp|strlen|strcmp|"
    r"rep_movs\w*|rep_stos\w*|_?copy_(?:to|from)_(?:user|iter)\w*|_copy_\w+_iter|__copy_\w+|"
    r"instrument_\w+|__(?:read|write)_once\w*|arch_atomic\w*|atomic_\w+|"
    r"fortify_panic|__fortify_\w+|usercopy_abort|__check_heap_object|__check_object_size|check_heap_object|"
    r"debug_print_object|debug_object_\w+|debug_check_\w+|__debug_\w+|"
    r"err_printk|check_unmap|check_sync|check_sync\w*|debug_dma_\w+|dma_debug_\w+|"
    r"add_dma_entry|active_cacheline_\w+|"
    r"panic|vpanic|oops_\w+|die\w*|__die\w*|no_context|bad_area\w*|__bad_area\w*|"
    r"page_fault_oops|kernelmode_fixup_or_oops|do_user_addr_fault|do_kern_addr_fault|"
    r"handle_page_fault|search_\w+|__stack_chk_fail|"
    r"slab_err|object_err|check_bytes_and_report\w*|check_object|free_\w*debug_processing|"
    r"alloc_\w*debug_processing|free_to_partial_list\w*|slab_pad_check|on_freelist|"
    r"slab_\w+|___?slab_\w+|__slab_\w+|kmem_cache_\w+|__kmem_cache_\w+|kfree\w*|__kfree\w*|"
    r"do_kmem_\w+|get_partial_\w+|deactivate_slab\w*|alloc_from_\w+|__slab_alloc\w*|new_slab\w*|"
    r"kmalloc\w*|__kmalloc\w*|__do_kmalloc\w*|kzalloc\w*|kvmalloc\w*|__do_cache_alloc|"
    r"kmem_\w+|set_track\w*|stack_depot_\w+|discard_slab|free_slab|__free_slab|"
    r"warn_alloc\w*|__alloc_pages\w*|alloc_pages\w*|__alloc_frozen\w*|get_page_from_freelist|"
    r"__alloc_pages_slow\w*|bad_page\w*|free_page_is_bad\w*|check_free_page\w*|free_unref_\w+|"
    r"free_pcp\w*|free_pages\w*|__free_pages\w*|__free_frozen\w*|free_frozen\w*|"
    r"rmqueue\w*|check_new_page\w*|post_alloc_hook|prep_new_page|__put_page|put_page\w*|"
    r"folio_put\w*|__folio_put\w*|free_compound\w*|"
    r"usleep\w*|delay_\w+|__delay|__const_udelay|__udelay|native_halt|native_safe_halt|"
    r"default_idle\w*|arch_cpu_idle|pv_native_\w+|acpi_idle\w*|acpi_safe_halt|cpuidle_\w+|"
    r"cpu_relax|rep_nop|__kthread_parkme|stackdepot\w*|"
    r"nmi_\w+|trigger_\w*backtrace\w*|rcu_dump_\w+|rcu_check_\w+|rcu_sched_clock_\w+|"
    r"print_cpu_stall\w*|update_process_times|watchdog_\w+|sched_show_task|show_all_\w+|"
    r"csd_lock_\w+|smp_call_function\w*|on_each_cpu\w*|"
    r"kmemleak_\w+|check_preemption_disabled|debug_smp_processor_id|check_slab_allocation|"
    r"\w*notifier_call_chain\w*|dma_(?:un)?map_\w+|(?:un)?pin_user_\w+|set_page_dirty_lock|"
    r"kobject_add\w*|sysfs_\w+|"
    r"__filp_close|filp_close|filp_flush|"
    r"zcdma_told\w*|(?:soft|edu)_(?:judge|write\w*)|zc_write"
)

SKIP = re.compile(rf"^(?:{_LOCK_INTERNALS}|{_REPORTERS})$")
"""Frames that only report, lock, wait, allocate or copy: the cause is further out."""

BASE = re.compile(rf"^(?:{_PREEMPT_TRAMPOLINES})$")
"""Frames under every stack: nothing further out says more."""


@dataclass(frozen=True)
class Benign:
    """A line that looks like trouble and is none, with the reason."""

    line: re.Pattern[str]
    reason: str


def _benign(line: str, reason: str) -> Benign:
    return Benign(re.compile(line), reason)


BENIGN: tuple[Benign, ...] = (
    _benign(
        r"loading out-of-tree module taints kernel|module verification failed|"
        r"^Disabling lock debugging due to kernel taint",
        "our own modules are built outside the tree and not signed",
    ),
    _benign(
        r"^Spectre V\d|^MDS|^TAA|^MMIO Stale Data|^RETBleed|^SRBDS|^ITS:|^GDS|Speculative|"
        r"^WARNING: Spectre|CPU bug present and SMT on|is enabled with eIBRS",
        "the CPU model of the guest lacks a mitigation; nothing here depends on it",
    ),
    _benign(
        r"\[Firmware Bug\]|\[Firmware Warn\]|ACPI BIOS (?:Error|Warning)|ACPI (?:Error|Warning)",
        "firmware tables of the virtual machine or the board, not the kernel",
    ),
    _benign(
        r"clocksource: .*(?:unstable|skew|watchdog)|^TSC found unstable|tsc: Marking TSC unstable",
        "a starved host stops the guest's time stamp counter; lock-up reports say it themselves",
    ),
    _benign(
        r"^hrtimer: interrupt took|^perf: interrupt took too long|NMI handler .*took too long|"
        r"^sched: (?:RT|DL) (?:throttling|replenish)|hogged CPU for",
        "latency of a starved or emulated CPU",
    ),
    _benign(
        r"^FAULT_INJECTION: forcing a failure|^\S+: forcing a failure",
        "the kernel's fault injection did what the plan asked for",
    ),
    _benign(
        r"^INFO: lockdep is turned off|^lockdep: |MAX_LOCKDEP_\w+ too low|MAX_STACK_TRACE_ENTRIES|"
        r"^turning off the locking correctness validator",
        "lockdep's tables are full or it has reported already; its first report counts",
    ),
    _benign(
        r"trace_printk\(\) being used|^\*\* .*\*\*$",
        "a debug kernel's banner",
    ),
    _benign(
        r"^INFO: task \S+ is blocked on a \w+ likely owned by|^Future hung task reports are",
        "continues a hung-task report",
    ),
    _benign(
        r"^traps: \S+\[\d+\] |^\S+\[\d+\]: segfault at|^potentially unexpected fatal signal",
        "a user program's own fault, which the agent reports",
    ),
    _benign(
        r"^kmemleak: (?:Kernel memory leak detector|Automatic memory scanning|Early log)",
        "kmemleak's start-up lines",
    ),
    _benign(
        r"^WARNING! power/level is deprecated|^warning: .* uses 32-bit capabilities|"
        r"^process '\S+' (?:started with|launched)",
        "deprecated user interfaces",
    ),
    _benign(
        r"^WARNING: CPU: \d+ PID: \d+$",
        "a header cut off by the end of the console; the next line is lost with it",
    ),
    _benign(
        r"^KASLR disabled|^x86/\S+: .*|^mce: |^microcode: ",
        "boot-time notes on the CPU",
    ),
)

TITLE_FOR: Mapping[str, str] = {
    "Slab has": "double free",
    "Object already free": "double free",
    "Objects remaining": "objects remaining",
    "Attempt to free": "invalid free",
}
"""Words of slab reports that mean one thing and changed between kernels."""
