# Another spelling of bootstrap.py; extra arguments: make test ARGS="tests/models -x"
.PHONY: demo test lint setup
demo test lint setup:
	python3 bootstrap.py $@ $(ARGS)
