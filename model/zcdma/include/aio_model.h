/* SPDX-License-Identifier: GPL-2.0 */
/* The system calls of the model, for its racers */
#ifndef AIO_MODEL_H
#define AIO_MODEL_H

#ifdef __cplusplus
extern "C" {
#endif

struct file;

struct at_iocb {
	unsigned long long obj;		/* the iocb's user address: which request */
	unsigned long aio_buf;
	unsigned long aio_nbytes;
	long long aio_offset;
	int aio_fildes;
	int write;
	int nowait;
};

/* aio.c */
void at_aio_init(void);
int at_io_submit(const struct at_iocb *iocb);
int at_io_cancel(unsigned long long obj);
int at_io_destroy(void);
void at_exit_aio(void);

/* files.c */
struct file *at_fget(int fd);
void at_open(void);			/* the one file, descriptor 0 */
void at_close(void);
void at_driver_load(void);
void at_unbind(void);			/* the driver's remove, with files open */
int at_books(const char *name);		/* runs the show function of debugfs's file */
void at_unplug(void);			/* writes 1 to debugfs's remove */

#ifdef __cplusplus
}
#endif
#endif
