-- How Argo CD sees an object of any of our kinds. All say how they are by the same conditions:
-- Ready; beside it Reconciling while it will come by itself, Stalled while a person has to act.
local health = {status = "Progressing", message = "The operator has not looked at it yet."}
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
-- What was said of an older generation says nothing of this one.
if status.observedGeneration ~= obj.metadata.generation then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions) do
  if condition.status == "True" then
    found[condition.type] = condition
  end
end
if found.Stalled then
  health.status = "Degraded"
  health.message = found.Stalled.message
elseif found.Ready then
  health.status = "Healthy"
  health.message = found.Ready.message
elseif found.Reconciling then
  health.message = found.Reconciling.message
end
return health
