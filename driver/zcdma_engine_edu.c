// SPDX-License-Identifier: GPL-2.0
/*
 * An engine whose bytes are moved by hardware: QEMU's PCI device `edu`
 *
 * The card (QEMU: docs/specs/edu.txt, hw/misc/edu.c) moves up to 4 KiB between
 * memory and a buffer of its own, one transfer at a time, reads or writes the
 * memory 100 ms after it was told to, and then sends an MSI.  It knows neither
 * rings nor stops.  What zcdma_regs.h asks for beyond that is done here, as a
 * card's firmware would: it walks the ring, gives one descriptor after another
 * to the card, and posts the statuses.
 *
 *	doorbell, MSI, timer -> edu_next() -> SRC DST COUNT CMD -> ... 100 ms ... -> MSI
 *	                            ^                                                 |
 *	                            +--- edu_finish(): status, stop, abort, reset <---+
 *
 * A transfer cannot be taken back: a stop, an abort or a reset is acknowledged
 * when it is over.  Whoever unmaps earlier has a device that writes into memory
 * it does not own, and an IOMMU says so.
 *
 * Of the faults of the phases start and irq those happen here that the tables
 * of edu_start_fault() and edu_interrupt_for() name; orchestrate/ refuses plans
 * with others.  As in the soft engine, nothing of the driver's is declared here.
 */
#include <linux/delay.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "aiotorture.h"
#include "compat.h"
#include "zcdma_regs.h"

#define EDU_VENDOR		0x1234
#define EDU_DEVICE		0x11e8
#define EDU_MAX_CARDS		8

#define EDU_ID			0x00
#define EDU_ID_MASK		0x0000ffffU	/* above: the version */
#define EDU_ID_VALUE		0x00edU
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_RAISE		0x60
#define EDU_IRQ_ACK		0x64
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98

#define EDU_CMD_RUN		0x1U
#define EDU_CMD_TO_MEMORY	0x2U
#define EDU_CMD_IRQ		0x4U
#define EDU_IRQ_TRANSFER	0x100U		/* a transfer is over */
#define EDU_IRQ_POSTED		0x1U		/* ours: a status without a transfer */

#define EDU_BUFFER		0x40000ULL	/* where the card sees its own */
/* A transfer must end before the buffer's last byte (edu_check_range()), or QEMU aborts. */
#define EDU_BYTES		4032U
#define EDU_DMA_BITS		28		/* property dma_mask */
#define EDU_IDLE_MS		1000U		/* ten times what a transfer takes */

struct edu_card {
	struct pci_dev *pdev;
	void __iomem *regs;
};

/* An engine of this file; others see it as a struct zcdma_engine. */
struct edu_engine {
	struct zcdma_engine_config config;
	struct edu_card *card;
	spinlock_t lock;	/* nests inside the driver's; all below */

	/* registers */
	enum zcdma_state state;
	bool gone;
	bool isolated;
	u32 ring_lo, ring_hi, size, head, tail, irq_status;
	u32 told;		/* of irq_status: by an interrupt, and not acknowledged */
	DECLARE_BITMAP(aborts, ZCDMA_MAX_RING);	/* see zcdma_told.h */

	u32 chain_first;	/* of the descriptor at head */
	bool head_drawn;	/* its fault was drawn: do not draw again */
	ktime_t not_before;	/* no descriptor is taken earlier */

	/* the card's transfer, of the descriptor at head when it began */
	bool moving;
	struct zcdma_desc desc;	/* as fetched */
	u32 index;
	u32 short_by;
	bool twice;
	u64 late_ns;		/* it hangs: repeated until so long after a stop or an abort */
	bool asked;		/* that has come */
	ktime_t end_at;
	bool aborted;		/* its chain is to end as cancelled */

	unsigned int raise;	/* interrupts to raise when the lock is dropped */
	struct hrtimer tick;	/* a start that was put off */
	struct hrtimer irq;	/* an interrupt that was */
};

static struct edu_card *edu_cards[EDU_MAX_CARDS];
static void (*edu_on_removal)(unsigned int card);

static struct edu_engine *edu_of(struct zcdma_engine *engine)
{
	return (struct edu_engine *)engine;
}

/* ------------------------------------------------------------ memory */

/*
 * What the firmware reads and writes lies behind the same translation as the
 * card's transfers.  NULL: nothing is mapped there.
 */
static void *edu_bus_to_virt(struct edu_engine *e, u64 bus_addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(e->config.dma_dev);
	phys_addr_t phys = dma_to_phys(e->config.dma_dev, bus_addr);

	if (domain && domain->type != IOMMU_DOMAIN_IDENTITY)
		phys = iommu_iova_to_phys(domain, bus_addr);
	return phys ? phys_to_virt(phys) : NULL;
}

/* A descriptor does not cross a page. */
static struct zcdma_desc *edu_desc(struct edu_engine *e, u32 index)
{
	u64 base = ((u64)e->ring_hi << 32) | e->ring_lo;

	return edu_bus_to_virt(e, base + (index & (e->size - 1)) * sizeof(struct zcdma_desc));
}

static bool edu_is_flagged(struct edu_engine *e, const struct zcdma_desc *d)
{
	u64 cancel_addr = le64_to_cpu(d->cancel_addr);
	__le32 *word = cancel_addr ? edu_bus_to_virt(e, cancel_addr) : NULL;

	return word && READ_ONCE(*word);
}

/* ------------------------------------------------------------ states */

static void edu_power_on(struct edu_engine *e)
{
	e->state = ZCDMA_POWERON;
	e->ring_lo = 0;
	e->ring_hi = 0;
	e->size = 0;
	e->head = 0;
	e->tail = 0;
	e->irq_status = 0;
	e->told = 0;
	e->head_drawn = false;
	e->not_before = 0;
}

static void edu_run(struct edu_engine *e)
{
	if ((e->state != ZCDMA_STOPPED && e->state != ZCDMA_POWERON) || !e->size ||
	    !(e->ring_lo | e->ring_hi))
		return;
	e->head = 0;
	e->tail = 0;
	e->state = ZCDMA_RUNNING;
}

/* ------------------------------------------------------- interrupts */

/*
 * For a bit of IRQ_STATUS.  What is of no request has tag 0.  An interrupt is a
 * message: what one has told of and is not acknowledged is not told again.
 */
static void edu_interrupt_for(struct edu_engine *e, u32 tag, u32 bit)
{
	AT_OUTCOME(out);

	e->irq_status |= bit;
	if (!at_mark(AT_DEVICE, AT_IRQ, tag, &out))
		out.action = AT_NONE;
	switch (out.action) {
	case AT_DROP:
		break;
	case AT_DELAY:
		if (!hrtimer_is_queued(&e->irq))
			hrtimer_start(&e->irq, ktime_add_ns(ktime_get(), out.delay_ns),
				      ZC_ENGINE_MODE);
		break;
	case AT_DUP:
		e->raise = 2;
		break;
	default:
		if (!(e->told & bit))
			e->raise = max(e->raise, 1U);
	}
}

/* For whoever is not the card's interrupt: it comes as one. */
static void edu_raise_by_card(struct edu_engine *e)
{
	if (e->raise && !e->gone)
		writel(EDU_IRQ_POSTED, e->card->regs + EDU_IRQ_RAISE);
}

static void edu_deliver(struct edu_engine *e)
{
	unsigned long flags;

	spin_lock_irqsave(&e->lock, flags);
	e->told = e->irq_status;
	spin_unlock_irqrestore(&e->lock, flags);
	e->config.interrupt(e->config.arg);
}

/* ------------------------------------------------------- descriptors */

static void edu_write_status(struct edu_engine *e, struct zcdma_desc *d,
			     enum zcdma_desc_status status, u32 residue)
{
	d->residue = cpu_to_le32(residue);
	d->echo = d->seq;
	dma_wmb();
	WRITE_ONCE(d->status, cpu_to_le32(status));
	e->irq_status |= ZCDMA_IRQ_DONE;
}

static void edu_post(struct edu_engine *e, struct zcdma_desc *d,
		     enum zcdma_desc_status status, u32 residue)
{
	bool irq = le32_to_cpu(d->flags) & ZCDMA_DESC_IRQ;
	u32 tag = le32_to_cpu(d->tag);

	edu_write_status(e, d, status, residue);
	if (irq)
		edu_interrupt_for(e, tag, ZCDMA_IRQ_DONE);
}

static bool edu_is_end(const struct zcdma_desc *d)
{
	return le32_to_cpu(d->flags) & ZCDMA_DESC_END;
}

/* HEAD passes what an abort has posted: see the promise on HEAD in zcdma_regs.h. */
static void edu_pass_posted(struct edu_engine *e)
{
	struct zcdma_desc *d;

	while (e->head != e->tail && (d = edu_desc(e, e->head)) && d->status)
		e->head++;
}

/* Posts @status for the rest of the chain at HEAD, with nothing moved. */
static void edu_end_chain(struct edu_engine *e, enum zcdma_desc_status status)
{
	struct zcdma_desc *d;
	bool end;

	e->head_drawn = false;
	do {
		d = edu_desc(e, e->head++);
		if (!d)
			return;
		end = edu_is_end(d);
		if (end)
			edu_pass_posted(e);
		if (!d->status)
			edu_post(e, d, status, le32_to_cpu(d->len));
	} while (!end && e->head != e->tail);
}

/* Takes a chain out of which nothing is being moved. */
static void edu_cancel_chain(struct edu_engine *e, u32 first)
{
	struct zcdma_desc *d = edu_desc(e, first);
	u32 index = first;
	u32 tag = d ? le32_to_cpu(d->tag) : 0;
	bool end;

	do {
		d = edu_desc(e, index);
		if (!d)
			return;
		end = edu_is_end(d);
		if (index == e->head) {
			e->head_drawn = false;
			e->not_before = 0;
		}
		index++;
		/* before its last status is there, behind which its slots may be another's */
		if (end && e->head - first < index - first) {
			e->head = index;
			edu_pass_posted(e);
		}
		if (!d->status)
			edu_write_status(e, d, ZCDMA_DESC_CANCELLED, le32_to_cpu(d->len));
	} while (!end && index - first < e->size);

	edu_interrupt_for(e, tag, ZCDMA_IRQ_DONE);
}

static void edu_move(struct edu_engine *e)
{
	void __iomem *regs = e->card->regs;
	u64 bus_addr = le64_to_cpu(e->desc.bus_addr);
	u64 dev_addr = EDU_BUFFER + le64_to_cpu(e->desc.dev_addr);
	bool to_memory = !(le32_to_cpu(e->desc.flags) & ZCDMA_DESC_TO_DEVICE);

	writeq(to_memory ? dev_addr : bus_addr, regs + EDU_DMA_SRC);
	writeq(to_memory ? bus_addr : dev_addr, regs + EDU_DMA_DST);
	writeq(le32_to_cpu(e->desc.len) - e->short_by, regs + EDU_DMA_COUNT);
	writeq(EDU_CMD_RUN | EDU_CMD_IRQ | (to_memory ? EDU_CMD_TO_MEMORY : 0),
	       regs + EDU_DMA_CMD);
}

static void edu_begin(struct edu_engine *e, const struct zcdma_desc *d)
{
	e->desc = *d;
	e->index = e->head;
	e->moving = true;
	e->asked = false;
	e->aborted = false;
	e->end_at = 0;
	edu_move(e);
}

/* False: the descriptor at HEAD has to wait, or is dealt with. */
static bool edu_start_fault(struct edu_engine *e, struct zcdma_desc *d)
{
	AT_OUTCOME(out);
	u32 len = le32_to_cpu(d->len), tag = le32_to_cpu(d->tag);
	u64 wait_ns;

	e->short_by = 0;
	e->twice = false;
	e->late_ns = 0;
	if (e->head_drawn)
		return true;
	wait_ns = at_hold(AT_DEVICE, AT_START, tag);
	if (wait_ns) {
		e->not_before = ktime_add_ns(ktime_get(), wait_ns);
		return false;
	}
	if (!at_mark(AT_DEVICE, AT_START, tag, &out))
		return true;
	switch (out.action) {
	case AT_DELAY:
		e->head_drawn = true;
		e->not_before = ktime_add_ns(ktime_get(), out.delay_ns);
		return false;
	case AT_DROP:
		e->head++;
		edu_pass_posted(e);
		return false;
	case AT_CORRUPT:
		edu_end_chain(e, ZCDMA_DESC_ERR);
		return false;
	case AT_SHORT:
		e->short_by = len > 1 ? 1 + (u32)out.random % (len - 1) : 0;
		return true;
	case AT_DUP:
		e->twice = true;
		return true;
	case AT_LATE:
		e->late_ns = out.delay_ns;
		return true;
	default:
		return true;
	}
}

/* Gives the card its next transfer. */
static void edu_next(struct edu_engine *e)
{
	struct zcdma_desc *d;
	u64 dev_addr;
	u32 len;

	while (e->state == ZCDMA_RUNNING && !e->moving && e->head != e->tail) {
		if (ktime_compare(ktime_get(), e->not_before) < 0) {
			hrtimer_start(&e->tick, e->not_before, ZC_ENGINE_MODE);
			return;
		}
		d = edu_desc(e, e->head);
		if (!d)
			return;
		if (le32_to_cpu(d->flags) & ZCDMA_DESC_START)
			e->chain_first = e->head;
		if (d->status) {	/* aborted before it was taken */
			e->head++;
			continue;
		}
		if (edu_is_flagged(e, d)) {
			edu_end_chain(e, ZCDMA_DESC_CANCELLED);
			continue;
		}
		if (!edu_start_fault(e, d))
			continue;
		dev_addr = le64_to_cpu(d->dev_addr);
		len = le32_to_cpu(d->len);
		if (le32_to_cpu(d->flags) & ZCDMA_DESC_NOP) {
			e->head_drawn = false;
			e->head++;
			edu_post(e, d, ZCDMA_DESC_DONE, 0);
		} else if (!len || dev_addr > EDU_BYTES || len > EDU_BYTES - dev_addr) {
			edu_end_chain(e, ZCDMA_DESC_ERR);
		} else {
			edu_begin(e, d);
		}
	}
}

/* ------------------------------------------------------ stop and abort */

static void edu_ask(struct edu_engine *e)
{
	if (!e->asked)
		e->end_at = ktime_add_ns(ktime_get(), e->late_ns);
	e->asked = true;
}

static void edu_acknowledge_stop(struct edu_engine *e)
{
	e->state = ZCDMA_STOPPED;
	e->head_drawn = false;
	e->not_before = 0;
	edu_interrupt_for(e, 0, ZCDMA_IRQ_STOPPED);
}

static void edu_stop(struct edu_engine *e)
{
	if (e->state != ZCDMA_RUNNING)
		return;
	e->state = ZCDMA_STOPPING;
	edu_ask(e);
	if (!e->moving)
		edu_acknowledge_stop(e);
}

static void edu_reset(struct edu_engine *e)
{
	e->state = ZCDMA_RESETTING;
	e->late_ns = 0;
	if (!e->moving)
		edu_power_on(e);
}

static void edu_abort(struct edu_engine *e, u32 first)
{
	if (e->state != ZCDMA_RUNNING)
		return;
	if (e->moving && e->chain_first == first) {
		e->aborted = true;
		edu_ask(e);
		return;
	}
	edu_cancel_chain(e, first);
	edu_next(e);
}

/* The card says that the transfer is over. */
static void edu_finish(struct edu_engine *e)
{
	bool hangs = e->late_ns && (!e->asked || ktime_compare(ktime_get(), e->end_at) < 0);
	struct zcdma_desc *d;
	bool end;

	if (e->isolated || !e->moving)
		return;
	if (hangs || (e->twice && e->state == ZCDMA_RUNNING)) {
		e->twice = false;
		edu_move(e);
		return;
	}
	e->moving = false;
	switch (e->state) {
	case ZCDMA_STOPPING:
		edu_acknowledge_stop(e);
		return;
	case ZCDMA_RESETTING:
		edu_power_on(e);
		return;
	case ZCDMA_RUNNING:
		break;
	default:
		return;
	}
	d = edu_desc(e, e->index);
	if (!d)
		return;
	end = edu_is_end(d);
	e->head_drawn = false;
	e->head = e->index + 1;
	edu_pass_posted(e);
	edu_post(e, d, ZCDMA_DESC_DONE, e->short_by);
	if (!end && e->short_by)
		edu_end_chain(e, ZCDMA_DESC_DONE);
	else if (!end && e->aborted)
		edu_cancel_chain(e, e->chain_first);
	edu_next(e);
}

static irqreturn_t edu_irq_handler(int irq, void *arg)
{
	struct edu_engine *e = arg;
	u32 status = readl(e->card->regs + EDU_IRQ_STATUS);
	unsigned int i, raise;
	unsigned long flags;

	if (!status || status == ZCDMA_GONE)
		return IRQ_NONE;
	writel(status, e->card->regs + EDU_IRQ_ACK);

	spin_lock_irqsave(&e->lock, flags);
	if (status & EDU_IRQ_TRANSFER)
		edu_finish(e);
	raise = e->raise;
	e->raise = 0;
	spin_unlock_irqrestore(&e->lock, flags);
	for (i = 0; i < raise; i++)
		edu_deliver(e);
	return IRQ_HANDLED;
}

static enum hrtimer_restart edu_tick(struct hrtimer *timer)
{
	struct edu_engine *e = container_of(timer, struct edu_engine, tick);
	unsigned long flags;

	spin_lock_irqsave(&e->lock, flags);
	if (!e->gone && !e->isolated) {
		edu_next(e);
		edu_raise_by_card(e);
	}
	spin_unlock_irqrestore(&e->lock, flags);
	return HRTIMER_NORESTART;
}

static enum hrtimer_restart edu_irq_timer(struct hrtimer *timer)
{
	edu_deliver(container_of(timer, struct edu_engine, irq));
	return HRTIMER_NORESTART;
}

/* ------------------------------------------------------------ registers */

static u32 edu_read_locked(struct edu_engine *e, enum zcdma_reg reg)
{
	if (e->gone)
		return ZCDMA_GONE;
	switch (reg) {
	case ZCDMA_STATUS:
		return e->state;
	case ZCDMA_RING_LO:
		return e->ring_lo;
	case ZCDMA_RING_HI:
		return e->ring_hi;
	case ZCDMA_RING_SIZE:
		return e->size;
	case ZCDMA_HEAD:
		return e->head;
	case ZCDMA_TAIL:
		return e->tail;
	case ZCDMA_IRQ_STATUS:
		return e->irq_status;
	case ZCDMA_MEM_BYTES:
		return EDU_BYTES;
	default:
		return 0;
	}
}

static u32 edu_read(struct zcdma_engine *engine, enum zcdma_reg reg)
{
	struct edu_engine *e = edu_of(engine);
	unsigned long flags;
	u32 value;

	at_stall();
	spin_lock_irqsave(&e->lock, flags);
	value = edu_read_locked(e, reg);
	spin_unlock_irqrestore(&e->lock, flags);
	return value;
}

static void edu_control(struct edu_engine *e, enum zcdma_ctrl ctrl)
{
	switch (ctrl) {
	case ZCDMA_CTRL_RUN:
		edu_run(e);
		break;
	case ZCDMA_CTRL_STOP:
		edu_stop(e);
		break;
	case ZCDMA_CTRL_RESET:
		edu_reset(e);
		break;
	}
}

static void edu_write_locked(struct edu_engine *e, enum zcdma_reg reg, u32 value)
{
	bool halted = e->state == ZCDMA_STOPPED || e->state == ZCDMA_POWERON;

	switch (reg) {
	case ZCDMA_CTRL:
		edu_control(e, value);
		break;
	case ZCDMA_RING_LO:
		e->ring_lo = halted ? value : e->ring_lo;
		break;
	case ZCDMA_RING_HI:
		e->ring_hi = halted ? value : e->ring_hi;
		break;
	case ZCDMA_RING_SIZE:
		e->size = halted ? value : e->size;
		break;
	case ZCDMA_TAIL:
		if (e->state != ZCDMA_RUNNING)
			break;
		e->tail = value;
		edu_next(e);
		break;
	case ZCDMA_ABORT:
		edu_abort(e, value);
		break;
	case ZCDMA_IRQ_STATUS:
		e->irq_status &= ~value;
		e->told &= ~value;
		break;
	default:
		break;
	}
}

static const struct zcdma_desc *edu_told_desc(struct zcdma_engine *engine, u32 index)
{
	return edu_desc(edu_of(engine), index);
}

static void edu_judge(struct zcdma_engine *engine, enum zcdma_reg reg, u32 value)
{
	struct edu_engine *e = edu_of(engine);
	const struct zcdma_told now = {
		.state = e->state,
		.base = (u64)e->ring_hi << 32 | e->ring_lo,
		.size = e->size,
		.head = e->head,
		.tail = e->tail,
		.engine = engine,
		.aborts = e->aborts,
		.desc = edu_told_desc,
	};

	zcdma_told(&now, reg, value);
}

static bool edu_aborted(struct zcdma_engine *engine, u32 first)
{
	struct edu_engine *e = edu_of(engine);

	return zcdma_told_aborted(&e->lock, e->aborts, first);
}

static void edu_write(struct zcdma_engine *engine, enum zcdma_reg reg, u32 value)
{
	struct edu_engine *e = edu_of(engine);
	unsigned long flags;

	at_stall();
	spin_lock_irqsave(&e->lock, flags);
	if (!e->gone && !e->isolated) {
		edu_judge(engine, reg, value);
		edu_write_locked(e, reg, value);
		edu_raise_by_card(e);
	}
	spin_unlock_irqrestore(&e->lock, flags);
}

/* ------------------------------------------------------------ the card */

/* The bus tells of a removal by one last interrupt. */
static void edu_unplug(struct zcdma_engine *engine)
{
	struct edu_engine *e = edu_of(engine);
	unsigned long flags;

	spin_lock_irqsave(&e->lock, flags);
	if (!e->gone) {
		pci_clear_master(e->card->pdev);
		edu_power_on(e);
		e->gone = true;
		hrtimer_start(&e->irq, ktime_get(), ZC_ENGINE_MODE);
	}
	spin_unlock_irqrestore(&e->lock, flags);
}

/* Without bus mastering the card's transfer reaches no memory and its MSI no CPU. */
static void edu_isolate(struct zcdma_engine *engine)
{
	struct edu_engine *e = edu_of(engine);
	unsigned long flags;

	spin_lock_irqsave(&e->lock, flags);
	pci_clear_master(e->card->pdev);
	e->isolated = true;
	edu_power_on(e);
	spin_unlock_irqrestore(&e->lock, flags);
}

static void edu_destroy(struct zcdma_engine *engine)
{
	struct edu_engine *e = edu_of(engine);
	unsigned int i;

	edu_isolate(engine);
	free_irq(pci_irq_vector(e->card->pdev, 0), e);
	hrtimer_cancel(&e->tick);
	hrtimer_cancel(&e->irq);
	/* what is under way must find bus mastering off, not on again for the next driver */
	for (i = 0; i < EDU_IDLE_MS && (readq(e->card->regs + EDU_DMA_CMD) & EDU_CMD_RUN); i++)
		usleep_range(1000, 2000);
	writel(~0U, e->card->regs + EDU_IRQ_ACK);
	kfree(e);
}

static struct zcdma_engine *edu_create(const struct zcdma_engine_config *config)
{
	struct pci_dev *pdev = to_pci_dev(config->dma_dev);
	struct edu_engine *e = kzalloc(sizeof(*e), GFP_KERNEL);

	if (!e)
		return NULL;
	e->config = *config;
	e->card = pci_get_drvdata(pdev);
	spin_lock_init(&e->lock);
	zc_hrtimer_setup(&e->tick, edu_tick, ZC_ENGINE_MODE);
	zc_hrtimer_setup(&e->irq, edu_irq_timer, ZC_ENGINE_MODE);
	if (request_irq(pci_irq_vector(pdev, 0), edu_irq_handler, 0, "zcdma-edu", e)) {
		kfree(e);
		return NULL;
	}
	pci_set_master(pdev);
	return (struct zcdma_engine *)e;
}

static const struct zcdma_engine_ops zcdma_engine_edu = {
	.name = "edu",
	.create = edu_create,
	.destroy = edu_destroy,
	.read = edu_read,
	.write = edu_write,
	.isolate = edu_isolate,
	.unplug = edu_unplug,
	.aborted = edu_aborted,
};

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu_card *card = devm_kzalloc(&pdev->dev, sizeof(*card), GFP_KERNEL);
	unsigned int i;
	int err;

	if (!card)
		return -ENOMEM;
	for (i = 0; i < EDU_MAX_CARDS && edu_cards[i]; i++)
		;
	if (i == EDU_MAX_CARDS)
		return -ENOSPC;
	err = pcim_enable_device(pdev);
	if (err)
		return err;
	card->regs = pcim_iomap(pdev, 0, 0);
	if (!card->regs)
		return -ENOMEM;
	if ((readl(card->regs + EDU_ID) & EDU_ID_MASK) != EDU_ID_VALUE)
		return -ENODEV;
	err = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(EDU_DMA_BITS));
	if (err)
		return err;
	err = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI);
	if (err < 0)
		return err;
	card->pdev = pdev;
	pci_set_drvdata(pdev, card);
	edu_cards[i] = card;
	return 0;
}

static void edu_remove(struct pci_dev *pdev)
{
	struct edu_card *card = pci_get_drvdata(pdev);
	unsigned int i;

	for (i = 0; i < EDU_MAX_CARDS; i++) {
		if (edu_cards[i] != card)
			continue;
		edu_on_removal(i);
		edu_cards[i] = NULL;
	}
	pci_free_irq_vectors(pdev);
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(EDU_VENDOR, EDU_DEVICE) },
	{ }
};

static struct pci_driver edu_driver = {
	.name = "zcdma-edu",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};

/* NULL: there are fewer cards. */
static struct device *zcdma_edu_card(unsigned int card)
{
	return card < EDU_MAX_CARDS && edu_cards[card] ? &edu_cards[card]->pdev->dev : NULL;
}

/* @on_removal: the device that was made of the card must go, and its engine with it. */
static int zcdma_edu_init(void (*on_removal)(unsigned int card))
{
	edu_on_removal = on_removal;
	return pci_register_driver(&edu_driver);
}

static void zcdma_edu_exit(void)
{
	pci_unregister_driver(&edu_driver);
}
