package main

type recvCmd struct{}

func (c *recvCmd) Run(env *environment) error { return nil }
