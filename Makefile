# Another spelling of bootstrap.py; extra arguments: make test ARGS="tests/models -x"
.PHONY: demo test lint docs setup
demo test lint docs setup:
	python3 bootstrap.py $@ $(ARGS)
