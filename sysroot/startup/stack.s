# Contract of the compiler: functions with large frames call __chkstk with the frame's size in rax. It touches every page
# between the stack pointer and the new frame, so that the guard page grows the stack; all registers are kept.
# _alloca_probe is its other name, which LLVM's just-in-time compilers hand to what they compile.
	.text
	.globl	__chkstk
	.def	__chkstk; .scl 2; .type 32; .endef
	.globl	_alloca_probe
	.def	_alloca_probe; .scl 2; .type 32; .endef
__chkstk:
_alloca_probe:
	pushq	%rcx
	pushq	%rax
	cmpq	$4096, %rax
	leaq	24(%rsp), %rcx
	jb	2f
1:	subq	$4096, %rcx
	testb	%cl, (%rcx)
	subq	$4096, %rax
	cmpq	$4096, %rax
	ja	1b
2:	subq	%rax, %rcx
	testb	%cl, (%rcx)
	popq	%rax
	popq	%rcx
	retq

# Contract of /GS: rcx is the cookie out of a frame. It must be the cookie, with its top 16 bits clear; otherwise the
# process ends at once (__fastfail with FAST_FAIL_STACK_COOKIE_CHECK_FAILURE, 2). rax, the return value, is kept.
	.globl	__security_check_cookie
	.def	__security_check_cookie; .scl 2; .type 32; .endef
__security_check_cookie:
	cmpq	__security_cookie(%rip), %rcx
	jne	3f
	rolq	$16, %rcx
	testw	$-1, %cx
	jne	3f
	retq
3:	movl	$2, %ecx
	int	$0x29
