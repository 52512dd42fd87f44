// Every text of the page: Chinese, English.
const TEXTS = {
  title: ["储能电池监控", "Battery fleet"], docs: ["接口", "Interface"], other: ["English", "中文"],
  forget: ["退出（清除密钥）", "Forget key"], live: ["已连接", "connected"], lost: ["连接中断", "connection lost"],
  lostLong: ["与平台的连接中断：以下内容为旧数据，电池状态未知。", "Connection to the platform lost: what is shown is old, the batteries' status is unknown."],
  slow: ["请求过于频繁，平台要求减速。", "Too many requests: the platform asks to slow down."],
  keyAsk: ["运维 API Key", "Operator's API key"], keyNote: ["只保存在本标签页（sessionStorage），关闭即清除。", "Kept in this tab only (sessionStorage); gone when it is closed."],
  enter: ["进入", "Enter"], keyBad: ["API Key 无效", "This key is not valid"], keyRole: ["需要运维密钥（operator）", "An operator key is needed"],
  devices: ["设备", "Devices"], device: ["设备", "Device"], none: ["没有设备", "No devices"], back: ["← 全部设备", "← All devices"],
  status: ["运行状态", "Status"], age: ["数据时效", "Age"], alarms: ["告警", "Alarms"], box: ["网关", "Box"], progress: ["进行中命令", "In progress"],
  s1: ["○ 下电（接触器断开）", "○ Powered down, contactor open"], s2: ["● 静置（接触器闭合）", "● Idle, contactor closed"],
  s3: ["▲ 充电", "▲ Charging"], s4: ["▼ 放电", "▼ Discharging"], unknown: ["? 未知", "? UNKNOWN"],
  n1: ["下电", "powered down"], n2: ["静置", "idle"], n3: ["充电", "charging"], n4: ["放电", "discharging"], nUnknown: ["未知", "unknown"],
  notOpen: ["不代表接触器已断开", "this does not mean that the contactor is open"],
  whyNever: ["该设备从未上报", "This device has never reported"], whyStale: ["设备已沉默", "The device has fallen silent"],
  whyBms: ["BMS 通信中断", "The BMS does not answer the box"], whyUnclear: ["BMS 数据不足以判断", "The BMS data do not tell"], whyLost: ["与平台的连接中断", "No connection to the platform"],
  never: ["从未", "never"], noAlarm: ["无告警", "No alarm"], alarmsUnknown: ["未知", "unknown"], level: ["级别", "Level"], since: ["起始", "Since"], alarm: ["告警", "Alarm"],
  lockout: ["就地闭锁", "Local lock-out"], tx_unsafe: ["发送不安全", "TX unsafe"], foreign_master: ["存在其他主站", "Foreign master"], bus_trouble: ["CAN 总线异常", "CAN bus trouble"], read_only: ["只读", "Read-only"],
  journal: ["日志被改写", "Journal rewritten"], two_step: ["合闸需两步", "Two-step close"], version: ["网关版本", "Box version"], battery: ["电池", "Battery"],
  observed: ["观测时间", "Observed"], received: ["最近上报", "Last report"], location: ["位置", "Location"], yes: ["是", "yes"], no: ["否", "no"], ok: ["正常", "normal"],
  telemetry: ["遥测", "Telemetry"], noTelemetry: ["无数据", "No data"], name: ["名称", "Name"], value: ["数值", "Value"], cells: ["个", "values"], missing: ["缺失", "missing"],
  oldValues: ["以下为最后一次上报，已过期", "Last report, out of date"],
  orders: ["控制命令", "Commands"], c1: ["故障复位", "Fault reset"], c2: ["接触器闭合", "Close contactor"], c3: ["接触器断开", "Open contactor"],
  e1: ["复位 BMS 的锁定故障。不会闭合接触器。", "Latched faults of the BMS are reset. The contactor does not close by this."],
  e2: ["接触器闭合，电池接入直流母线并带电。", "The contactor closes: the battery is connected to the DC bus and goes live."],
  e3: ["接触器断开，电池脱离直流母线，充放电中断。", "The contactor opens: the battery is cut off the DC bus, charging and discharging end."],
  unsure: ["当前状态未知。网关在条件不明时会拒绝闭合。", "The status is unknown now. The box refuses a close while anything is unclear."],
  reason: ["原因（可选，随命令存档）", "Reason (optional, kept with the command)"], dismiss: ["取消", "Cancel"], send: ["下发", "Send"], confirm: ["确认下发", "Confirm and send"],
  sending: ["正在下发…", "Sending…"], armed: ["仅预置，未下发任何命令。请再次确认", "Armed only: nothing was sent. Confirm within"], armedOver: ["预置已失效，未下发任何命令。", "The arm is over. Nothing was sent."],
  armedBy: ["已由他人预置合闸", "A close is armed by"], refused: ["平台拒绝", "The platform refused"],
  noAnswer: ["平台没有回答，命令是否已排队未知。请查看命令列表。", "The platform did not answer. Whether the command was queued is unknown: look at the list."],
  commands: ["命令记录", "Commands"], noCommands: ["没有命令", "No commands"], command: ["命令", "Command"], state: ["状态", "State"], by: ["操作人", "By"], at: ["时间", "Time"],
  life: ["命令全过程与证据", "Life of the command, with evidence"], choose: ["选择一条命令查看证据", "Choose a command to see its evidence"], withdraw: ["撤销命令", "Cancel this command"],
  withdrawing: ["已请求撤销", "cancel requested"], provisional: ["平台推断，等待网关消息", "the platform's guess, for want of news"], refusedWord: ["与既有状态矛盾，仅存档", "contradicts what is known, kept as evidence"],
  queuedNote: ["已排队不等于已执行", "queued is not done"], boxTime: ["网关时间", "box"], hereTime: ["平台时间", "platform"],
  rule: ["规则", "Rule"], verdict: ["判定", "Verdict"], signal: ["信号", "Signal"], wanted: ["要求", "Wanted"], seen: ["实际", "Seen"],
  interlocks: ["联锁", "Interlocks"], frames: ["发送的帧", "Frames sent"], confirmed_by: ["确认帧（来自 BMS）", "Confirming frames (from the BMS)"],
  contradicted_by: ["矛盾帧（来自 BMS）", "Contradicting frames (from the BMS)"], answer: ["BMS 应答", "Answer of the BMS"], under_load: ["带载", "Under load"], atS: ["单调时间 [s]", "Monotonic [s]"], frame: ["帧", "Frame"],
  "state-armed": ["已预置", "armed"], "state-queued": ["已排队", "queued"], "state-delivered": ["已送达网关", "delivered"], "state-accepted": ["已接受", "accepted"],
  "state-gated": ["联锁通过", "gated"], "state-sending": ["发送中", "sending"], "state-sent": ["已发送", "sent"], "state-acknowledged": ["BMS 已应答", "acknowledged"],
  "state-succeeded": ["已见效", "succeeded"], "state-held": ["保持有效", "held"], "state-reverted": ["已回退", "reverted"], "state-rejected": ["被拒绝", "rejected"],
  "state-expired": ["已过期", "expired"], "state-failed": ["失败", "failed"], "state-timed_out": ["超时", "timed out"], "state-cancelled": ["已撤销", "cancelled"],
  "state-unknown": ["结果未知", "unknown"], "state-cancel_requested": ["请求撤销", "cancel requested"],
  "origin-operator": ["操作人", "operator"], "origin-platform": ["平台", "platform"], "origin-device": ["网关", "box"],
};

// Telemetry in the vendor's words: Chinese, English, unit.
const FIELDS = {
  soc: ["SOC", "SOC", "%"], soh: ["SOH", "SOH", "%"], voltage: ["总电压", "Voltage", "V"], total_voltage: ["总电压", "Total voltage", "V"],
  current: ["电流", "Current", "A"], total_current: ["总电流（充电为正）", "Total current (+ charging)", "A"], power: ["功率", "Power", "kW"],
  max_allowed_charge_current: ["最大允许充电电流", "Max charge current", "A"], max_allowed_dis_charge_current: ["最大允许放电电流", "Max discharge current", "A"],
  max_allowed_discharge_power: ["最大允许放电功率", "Max discharge power", "kW"],
  max_allowed_charge_power: ["最大允许充电功率", "Max charge power", "kW"], max_allowed_dis_charge_power: ["最大允许放电功率", "Max discharge power", "kW"],
  current_chargeable_energy: ["可充电量", "Chargeable energy", "kWh"], current_dis_chargeable_energy: ["可放电量", "Dischargeable energy", "kWh"],
  charge_accumulated_energy: ["累计充电量", "Energy charged", "kWh"], discharge_accumulated_energy: ["累计放电量", "Energy discharged", "kWh"],
  daily_charge_energy: ["日充电量", "Charged today", "kWh"], daily_discharge_energy: ["日放电量", "Discharged today", "kWh"],
  highest_cell_voltage: ["最高单体电压", "Highest cell voltage", "V"], lowest_cell_voltage: ["最低单体电压", "Lowest cell voltage", "V"],
  average_cell_voltage: ["平均单体电压", "Average cell voltage", "V"], highest_cell_temp: ["最高单体温度", "Highest cell temperature", "℃"],
  lowest_cell_temp: ["最低单体温度", "Lowest cell temperature", "℃"], average_cell_temperature: ["平均单体温度", "Average cell temperature", "℃"],
  voltage_diff: ["压差", "Voltage difference", "V"], temp_diff: ["温差", "Temperature difference", "℃"], cell_voltage: ["单体电压", "Cell voltages", "V"],
  cell_temp: ["单体温度", "Cell temperatures", "℃"], battery_stack_insulation_resistance: ["绝缘电阻", "Insulation resistance", "kΩ"],
  contactor_status: ["接触器（1闭 2开 3不一致）", "Contactor (1 closed, 2 open, 3 neither)", ""], cycles: ["循环次数", "Cycles", ""],
  highest_voltage_pack: ["最高电压所在电池包", "Highest voltage: pack", ""], highest_voltage_id: ["最高电压单体编号", "Highest voltage: cell", ""],
  lowest_voltage_pack: ["最低电压所在电池包", "Lowest voltage: pack", ""], lowest_voltage_id: ["最低电压单体编号", "Lowest voltage: cell", ""],
  highest_temp_pack: ["最高温度所在电池包", "Highest temperature: pack", ""], highest_temp_id: ["最高温度测点编号", "Highest temperature: sensor", ""],
  lowest_temp_pack: ["最低温度所在电池包", "Lowest temperature: pack", ""], lowest_temp_id: ["最低温度测点编号", "Lowest temperature: sensor", ""],
};

let chinese = (sessionStorage.getItem("ems-lang") || navigator.language || "en").startsWith("zh");

export const isChinese = () => chinese;
export const setChinese = (on) => {
  chinese = on;
  sessionStorage.setItem("ems-lang", on ? "zh" : "en");
};
export const t = (name) => (Object.hasOwn(TEXTS, name) ? TEXTS[name][chinese ? 0 : 1] : name);
export const stateName = (state) => t("state-" + state).replace(/^state-/, "");
export const field = (name) => {
  const found = Object.hasOwn(FIELDS, name) ? FIELDS[name] : [name, name, ""];
  return { label: found[chinese ? 0 : 1], unit: found[2] };
};
// Known fields come first, in the order of the table; the others stay as they were reported.
const ORDER = Object.keys(FIELDS);
export const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
export const label = (alarm) => (chinese ? alarm.label_zh || alarm.label_en : alarm.label_en || alarm.label_zh) || alarm.key;
